"""What is equal and what is not, kind by kind, and both ways round."""

import pytest

from metagen.answers.canonical import canonical
from metagen.answers.decide import decide
from metagen.answers.grade import grade

PATIENT = 60.0

EQUAL = {
    "units": [
        ("9.8 m/s^2", "9.8"), (r"9.8 \frac{m}{s^2}", "9.8"), (r"9.8\ \mathrm{m/s^2}", "9.8"), ("60 km/h", "60"),
        ("3 km", "3"), ("20°C", "20"), ("12 slices of pizza", "12"), (r"8\pi\text{ cm}^2", r"8\pi"), ("1 apple", "1"),
        ("9.8 m s^{-2}", "9.8"), ("20 dollars per hour", "20"), ("60% of the students", "60"), ("5cm", "5"),
    ],
    "units by several names": [
        ("5 hr", "5 hours"), ("$5", "5 dollars"), (r"\$1,234.50", "1234.50 USD"), ("5 km/h", "5 kilometers per hour"),
        ("5 square cm", "5 cm^2"), ("5 cubic feet", "5 ft^3"), ("20 dollars", "20 dollars per hour"),
        ("5 pounds", "5 lbs"),
        ("20 degrees", "20°C"), ("20 degrees Celsius", "20°C"), ("1/2 hour", "0.5 hours"), ("$5$ cm", r"5\text{ cm}"),
        ("5 feet", "5 feet tall"), ("50 percent", "50%"), ("5 inches", "5 in"), (r"30^\circ", "30 degrees"),
    ],
    "times of day": [
        ("7 a.m.", "7 AM"), ("7:00 p.m.", "7 PM"), ("7:30 p.m.", "7:30PM"), ("12 P.M.", "12 pm"),
        ("07:15 am", "7:15 a.m."),
    ],
    "infinity and nothing": [
        ("infinity", r"\infty"), ("negative infinity", r"-\infty"), ("(-infinity, 2)", r"(-\infty,2)"),
        (r"\varnothing", r"\emptyset"), (r"\{\}", "∅"), (r"\{ \}", r"\varnothing"),
    ],
    "sets in words": [
        (r"\text{all real numbers}", r"\mathbb{R}"), ("all reals", r"\mathbb R"), ("All real values of x", "(-∞,∞)"),
        ("the empty set", r"\emptyset"), ("There is no solution.", r"\varnothing"),
        ("no solutions", "No solution exists"),
        ("There are no real solutions", "no real solution"), (r"x \in \mathbb R", "all real numbers"),
        ("DNE", r"\text{does not exist}"), ("The limit does not exist.", "does not exist"),
    ],
    "both signs": [
        (r"\frac{1 \pm \sqrt5}{2}", r"\frac{1-\sqrt{5}}{2}, \frac{1+\sqrt{5}}{2}"), (r"2 \pm 3i", "2+3i, 2-3i"),
        (r"x = \frac{-b\pm\sqrt{b^2-4ac}}{2a}", r"\frac{-b+\sqrt{b^2-4ac}}{2a}, \frac{-b-\sqrt{b^2-4ac}}{2a}"),
        ("y = ±2x + 1", "y=2x+1, y=-2x+1"), (r"(1, \pm 2)", "(1,2), (1,-2)"), (r"a \pm b \mp c", "a+b-c, a-b+c"),
        (r"\pm\sqrt{2 \pm \sqrt3}", r"\sqrt{2+\sqrt3}, -\sqrt{2+\sqrt3}, \sqrt{2-\sqrt3}, -\sqrt{2-\sqrt3}"),
        (r"0, \pm 2", "-2, 0, 2"), (r"\{0, \pm 2\}", r"\{-2,0,2\}"),
        (r"\pm 5\text{ cm}", r"\pm 5"), (r"2^{\pm 1}", "2, 1/2"),
    ],
    "a letter worked out": [
        (r"\frac{1}{x^{-1}}", "x"), ("2x - x", "x"), (r"\frac{2y}{2}", "y"), (r"\left(n^{-1}\right)^{-1}", "n"),
    ],
    "symbols": [
        (r"\overline{AB}", "AB"),
        (r"\angle ABC", r"\angle CBA"), (r"$\alpha$", r"\alpha"), ("Δx", r"\Delta x"), ("2θ", r"2\theta"),
        ("λ/2", r"\frac{\lambda}{2}"), ("Θ(n)", r"\Theta(n)"),
    ],
    "what is transposed": [
        ("A^T", r"A^{\top}"), ("A^{T}", r"A^\mathsf{T}"), ("(AB)^T", "B^TA^T"), ("e^{T}", r"\exp(T)"),
    ],
    "a unit and its name": [
        ("5 m", "5 meters"), ("5 m", r"5\text{ m}"), ("3 h", "3 hours"), ("2.5 g", "5/2 grams"),
    ],
    "sets by a condition": [
        (r"\{x \mid x>3\}", r"(3,\infty)"), (r"\{x : x>3\}", "x>3"), (r"\{x|1<x<3\}", "(1,3)"),
        (r"\{x \in \mathbb{R} : x \neq 2\}", r"x \ne 2"), (r"\{x : x>3\}", r"\{y \mid y > 3\}"),
    ],
    "inequalities in prose": [
        ("x<1 or x>3", "x>3 or x<1"), (r"x \le -2 \text{ or } x \ge 2", r"x \geq 2 \text{ or } x \leq -2"),
    ],
    "negative powers": [
        ("2^-1", "0.5"), ("$x^-2$", r"\frac{1}{x^2}"), ("x**-12", "x^{-12}"), ("e^-x", "e^{-x}"),
        ("x^{-2}y^-1", "1/(x^2y)"), ("x**-2", "1/x^2"),
    ],
    "letters of either case": [
        ("O(N^2)", "O(n^2)"), (r"A=\pi R^2", r"$A = \pi r^2$"),
        ("2X", "2x"), ("R_1", "r_1"), ("N(N+1)/2", r"\frac{n(n+1)}{2}"), (r"2\pi R", r"2 \pi r"),
        ("C_1e^x+C_2", "C_2+C_1e^x"),
        ("GMm/r^2", r"\frac{GmM}{r^2}"), ("nRT/V", r"\frac{nRT}{V}"), (r"\pi(R^2-r^2)", r"\pi(R+r)(R-r)"),
    ],
    "unions of intervals": [
        ("x<1 or x>3", r"(-\infty,1)\cup(3,\infty)"), (r"x ≤ 1 \text{ or } x \geq 3", "(-∞,1]∪[3,∞)"),
        (r"-1 \le x < 1 or x > \sqrt{3}", r"[-1,1) \cup (\sqrt{3},\infty)"),
        ("3 < t or t < 1", r"(-\infty,1)\cup(3,\infty)"),
        (r"x \ne 3", r"(-\infty,3)\cup(3,\infty)"), (r"x \neq 3", r"\mathbb{R}\setminus\{3\}"),
        (r"\{x \mid x<1 \lor x>3\}", r"(-\infty,1)\cup(3,\infty)"),
        ("$x<-1/2$ or $x>3$", r"(-\infty,-\frac12)\cup(3,\infty)"),
    ],
    "chemical formulas": [
        ("H_2O", "H2O"), ("H_{2}SO_4", "H2SO4"), (r"\text{H}_2\text{O}", "H2O"), (r"\ce{CO2}", "CO_2"), ("CO₂", "CO2"),
        (r"\mathrm{C_6H_{12}O_6}", "C6H12O6"), ("Ca(OH)_2", "Ca(OH)2"), ("SO_4^{2-}", "SO4^2-"), ("F_1F_2", "F_2F_1"),
    ],
    "several letters": [("A, C", "C, A"), ("A and C", "C, A")],
    "coordinates": [
        ("y=2, x=1", "(1,2)"), (r"\begin{cases} x=1 \\ y=2 \end{cases}", "(1,2)"),
        (r"\begin{cases} x=1 \\ y=2 \end{cases}", "x=1, y=2"),
    ],
    "quotes": [('"Saturday"', "Saturday"), ("“Saturday”", "saturday")],
    "vectors": [(r"\langle 1,2\rangle", "(1,2)"), (r"\left\langle 1, \frac12\right\rangle", "(1, 0.5)")],
    "money": [("US$50", "50"), ("USD 50", "$50"), (r"US\$1,234.50", "1234.5")],
    "Chinese": [
        ("12元", "12"), (r"12\text{ 元}", "12"), ("5小时", "5"), ("5万", "50000"), ("1.5亿", "150000000"),
        ("5万元", "50000"), ("3千万", "3e7"), ("5千米", "5"), ("5。", "5"),
    ],
    "lists with a value twice": [("2, 2, 3", "3, 2, 2"), (r"\{1, 1, 2\}", r"\{1, 2\}"), (r"1, 1", r"\{1\}")],
    "derivatives": [
        ("f'(x)=2x", "2x"), ("y'+y=0", r"y^{\prime}+y=0"), ("I'm sure it is 7", "7"), ("Let x' be y. It is 7", "7"),
        ("f^{-1}(x)=x/2", r"f^{-1}(x)=\frac{x}{2}"),
    ],
    "variables after a number": [
        ("6ab", "6 ba"), (r"\frac12 bh", r"\frac{bh}{2}"), ("xy", "yx"), ("2 pi r", r"2\pi r"),
    ],
    "bases": [
        (r"4210_{5}", "4210_5"), (r"4210_{\text{five}}", "4210_5"), ("4210 base 5", "4210_5"), ("52", "52_8"),
        ("(101)_2", "101_2"),
    ],
    "scientific notation": [
        (r"2.314814814815 \times 10^{-3}", r"\frac{1}{432}"), ("2.314814814815e-3", "1/432"),
        ("0.0023148148148", r"\frac{1}{432}"), (r"6.022\times10^{23}", "6.022e23"), ("1e-20", "10^{-20}"),
        (r"3.3333333 \cdot 10^{-1}", "1/3"), ("1.5 x 10^2", "150"), ("1.5X10^{-3}", "0.0015"),
        ("0.30000000000000004", "0.3"),
    ],
    "complex numbers": [
        ("i^2", "-1"), ("(1+i)^2", "2i"), (r"e^{i\pi}", "-1"), ("|3+4i|", "5"), (r"\frac{1}{i}", "-i"),
        (r"\sqrt{-4}", "2i"), ("(2+i)(2-i)", "5"),
    ],
    "degrees": [
        (r"\sin 60^\circ", r"\frac{\sqrt3}{2}"), (r"\cos 120^\circ", "-1/2"), ("\\tan(45°)", "1"),
        (r"\sin^2 30^\circ", "1/4"), (r"2\cos\left(30^{\circ}\right)", r"\sqrt{3}"),
    ],
    "characters": [
        ("４２", "42"), ("½", r"\frac12"), ("3½", "7/2"), ("x²", "x^2"), ("x³+1", "1+x^3"), ("√2", r"\sqrt{2}"),
        ("2√3", r"2\sqrt{3}"), ("√(x+1)", r"\sqrt{x+1}"), ("–5", "-5"), ("10⁻²", "0.01"), ("٤٢", "42"), ("x₁ = 3", "3"),
        ("٣٫١٤", "3.14"), ("۱٬۲۳۴", "1234"), ("50٪", "50%"), ("1、2", "1, 2"),
    ],
    "other lands": [
        ("1,23,456", "123456"), ("₹12,34,567.50", "1234567.5"),
        ("1.234,56", "1234.56"), ("1.234.567", "1234567"), ("1 234,56", "1234.56"), ("1'234.5", "1234.5"),
    ],
    "numbers in words": [
        ("1 million", "1000000"), ("2 dozen", "24"), ("twenty-five", "25"), ("1.5 million dollars", "1,500,000"),
        ("three hundred and four", "304"), ("two dozen eggs", "24"), ("two thirds", "2/3"), ("a hundred", "100"),
        ("five thousandths", "0.005"), ("minus five", "-5"), ("two and a half", "2.5"), ("1/2 million", "500000"),
    ],
    "signs in words": [
        ("minus 5", "-5"), ("negative 7", "-7"), ("minus 12 dollars", "-12"), ("minus 1,234", "-1234"),
        ("Minus 3/4", "-3/4"), ("minus 5 million", "-5000000"), (r"negative \sqrt{2}", r"-\sqrt{2}"),
        (r"\text{minus } 5", "-5"), ("minus 5, 3", "-5, 3"), ("roughly minus 7", "-7"), ("5 degrees below zero", "-5"),
        ("five degrees below zero", "-5"), ("20 below 0", "-20"), ("5 degrees above zero", "5"), ("plus 7", "7"),
    ],
    "numbers in prose": [
        ("about 7", "7"), ("a total of 7", "7"), ("10 minus 3 is 7", "7"), ("3 times 4 is 12", "12"), ("all 7", "7"),
        ("not 7 but 5", "5"), ("the 2 cats have 7", "7"), ("it increases by 7", "7"), ("the double root 5", "5"),
        ("the square has area 16", "16"), ("the remainder is 5", "5"), ("a remainder of 5", "5"),
        ("after 7 days", "7"), ("15 apples 3 each", "3"), ("nothing but 7", "7"),
        ("12 dogs and 12 cats", "12"), ("60 minutes or 1 hour", "1"),
        ("if x is 3, 7 apples", "7"), ("in the second half 7", "7"), (r"so it is $3 \times 4 = \boxed{12}$", "12"),
        ("5 minutes late", "5"), ("5 feet below the surface", "5"),
    ],
    "the least and the greatest": [
        ("at least 7 socks", "7"), ("at least 7 socks", "7 socks"), ("at most 7", "7"), ("in at most 7 moves", "7"),
        ("n is at least 7", "n=7"), ("no more than 7", "7"), ("no less than 7", "7"), ("no fewer than 7", "7"),
        ("not more than 7", "7"), ("over 7", "7"), ("above 7", "7"),
    ],
    "words that only look like sums": [
        ("invested over 7 years", "7"), ("takes place over 7 days", "7"), ("a profit of plus 7 dollars", "7"),
    ],
    "a value with another one": [
        ("1 hour, 60 minutes", "60"), ("1 kilometer, 1000 meters", "1000"), ("15 apples, 3 each", "3"),
        ("3 left, 7 total", "7"), ("5 dogs and 12 in total", "12"), ("5 dogs and 12 altogether", "12"),
        ("12 March, 1990", "1990"), ("2 weeks, 14 days", "14"),
    ],
    "what is below zero": [
        ("5 days below zero", "5"), ("5 temperatures below zero", "5"), ("7 points below zero", "7"),
        ("5°C below zero", "-5"), ("5 degrees Celsius below zero", "-5"), ("twenty-five degrees below zero", "-25"),
    ],
    "parts": [
        ("5 sixteenths", "5/16"), ("7 twelfths", "7/12"), ("one twelfth", "1/12"), ("3 twentieths", "3/20"),
        ("5 billionths", "5e-9"), ("5 thirty-seconds", "5/32"), ("2 twenty-fifths", "2/25"), ("twenty fifths", "4"),
        ("one twenty-first", "1/21"), ("3 ten-thousandths", "0.0003"), ("two hundred-thousandths", "0.00002"),
        ("5 sixteenths of an inch", "5/16"), ("two third of it", "2/3 of it"), ("one third cup", "1/3"),
        ("three quarters", "3/4"), ("a quarter", "1/4"), ("3 quarters of an hour", "3/4"), ("half", "1/2"),
        ("5 sixth graders", "5"), ("12 twelfth graders", "12"),
        ("12 twelfth-grade students", "12"), ("5 nineteenth-century novels", "5"), ("1 twelfth grader", "1"),
        ("1 eleventh grader", "1"), ("one twentieth century novel", "1"), ("eight sixteenth notes", "8"),
        ("5 people in the third row", "5"), ("5 seconds", "5"),
    ],
    "how often, and of how many": [
        ("5 times", "5"), (r"\text{three times}", "3"), ("3 times as many", "3"), ("3 times as many as Bob", "3"),
        ("3 times more", "3"), ("5 times a day", "5"), ("5 times in total", "5"), ("5 each", "5"), ("5 left", "5"),
        ("5 in all", "5"), ("5 in total", "5"), ("5 more", "5"), ("5 apples each", "5"), ("5 apiece", "5"),
    ],
    "inequalities and intervals": [
        (r"x \ge 5", r"[5,\infty)"), ("1<x<2", "(1,2)"), ("x<2", r"(-\infty,2)"), (r"1 \le x < 2", "[1,2)"),
        (r"x > \sqrt{2}", r"(\sqrt{2},\infty)"), (r"5 \le x", r"[5,\infty)"),
    ],
    "an equation without a left side": [("= 5", "5"), ("=5", "x=5")],
    "points and lists": [
        ("-2,3", "(-2,3)"), (r"\{1,2\}", "2,1"), (r"\{(1,2),(3,4)\}", "(1,2),(3,4)"), (r"\{1,2,3\}", "3,2,1"),
    ],
    "repeating decimals": [
        (r"0.\overline{3}", r"\frac13"), (r"0.1\overline{6}", "1/6"), ("0.333...", "1/3"), ("0.(3)", "1/3"),
        (r"0.1666\ldots", "1/6"), (r"-1.\bar{6}", "-5/3"), ("0.3\u0305", "1/3"),
    ],
    "a letter with its text": [
        ("C) 42", "C"), ("(C) 42", "C"), ("Option C", "C"), (r"\textbf{(C)}\ 42", r"\text{(C)}"), ("C. the third", "C"),
        ("choice (C)", "C"), ("C: 42", "C"), ("The correct option is C", "C"), ("Answer: C", "C"), ("option c", "C"),
    ],
    "lists in prose": [
        ("1 and 2", "1, 2"), ("2 or 1", "1, 2"), ("1, 2, and 3", "3,2,1"), (r"1\text{ and }2", "1,2"),
        (r"x=1 \text{ or } x=2", "1, 2"), (r"\sqrt2 and \pi", r"\pi, \sqrt{2}"),
    ],
    "ratios": [("2:4:6", "1:2:3"), ("12 : 8", "3:2"), ("0.5:1", "1:2"), (r"a:b = 7:32", "7:32")],
    "names": [("m+n=101", "101"), (r"\sin A=\frac35", "3/5"), ("y = 2x+3", "2x+3"), ("x = 5", "5")],
}  # fmt: skip

UNEQUAL = {
    "sets in words": [
        ("all real numbers", r"\mathbb{Z}"), ("all real numbers except 2", r"\mathbb{R}"), ("no solution", "0"),
        ("no real solution", r"\emptyset"), ("all rational numbers", r"\mathbb{R}"),
        ("no solution", "no real solution"),
    ],
    "both signs": [
        (r"\frac{1\pm\sqrt5}{2}", r"\frac{1+\sqrt5}{2}"), (r"\frac{1\pm\sqrt5}{2}", r"\frac{1\pm\sqrt3}{2}"),
        (r"\pm 2", "2"), (r"a \pm b \mp c", "a+b+c, a-b-c"), (r"(1, \pm 2)", "(1,2)"),
        (r"\pm 5\text{ cm}", r"\pm 5\text{ m}"),
    ],
    "a letter worked out": [("x", r"\frac{1}{x}"), ("x", "y"), ("A", "x"), ("x", "x^2"), ("B", "2B-A")],
    "letters of both cases": [
        (r"\frac{m}{M}", "1"), (r"\pi(R^2-r^2)", "0"), ("V-v", "0"), ("x+X", "2x"), (r"\frac{GM}{r}", r"\frac{gM}{r}"),
        (r"\frac{GM}{r^2}", r"\frac{Gm}{r^2}"), ("Ae^{-kt}", "Ae^{-Kt}"),
        ("kQq/r^2", r"\frac{kq^2}{r^2}"),
    ],
    "unions of intervals": [
        ("x<1 and x>3", r"(-\infty,1)\cup(3,\infty)"), ("x<=1 or x>3", r"(-\infty,1)\cup(3,\infty)"),
        ("x<1 or y>3", r"(-\infty,1)\cup(3,\infty)"), ("x<1 or x>4", r"(-\infty,1)\cup(3,\infty)"),
        ("x<1", r"(-\infty,1)\cup(3,\infty)"), (r"x \ne 4", r"\mathbb{R}\setminus\{3\}"),
        ("x<1 or x>3", "y<1 or y>3"),
    ],
    "chemical formulas": [
        ("H_2O", "H_3O"), ("H_2O", "H_2O_2"), ("NH_4^+", "NH_4"), ("CO_2", "Co_2"), ("H_2", "2H"), ("A_{16}", "A_{15}"),
        ("X_{1}2", "X_{12}"), ("CO_2", "CO^2"),
    ],
    "words after a number": [
        (r"\frac12\,mv^2", r"\frac12"), ("6 ab", "6 cd"), ("6ab", "6cd"), ("6 ab", "6"), ("5 thousandths", "5"),
        ("3 tenths", "3"), (r"5\text{ hundredths}", "5"), (r"\frac12 mgh", r"\frac12"), ("6 abc", "6 xyz"), ("3h", "3"),
        (r"\frac{1}{2} h", r"\frac{1}{2}"), (r"2\pi r", r"2\pi"), ("5 million", "5"), ("5 mod 7", "5"), ("5 half", "5"),
        (r"5\text{ ab}", r"5\text{ cd}"), ("2 m/n", "2"), ("5 sixteenths", "5"), ("7 twelfths", "7"),
        ("5 billionths", "5"), ("5 thirty-seconds", "5"), ("twenty-fifth", "4"), ("12 quarters", "3"),
        ("5 times seven", "5"), ("5 times a number", "5"), ("5 times the radius", "5"), ("5 more than 3", "5"),
        ("5 times as many as seven", "5"), ("5 less", "5"),
        ("12 is what they all said", "12"), ("5 more or less", "5"), ("12 is more", "12"),
    ],
    "words before a number": [
        ("minus 5", "5"), ("negative 7", "7"), ("minus 12 dollars", "12"), ("it was minus 7", "7"),
        ("not 5", "5"), ("not exactly 5", "5"), ("isn't 5", "5"), ("cannot be 5", "5"), ("not equal to 5", "5"),
        ("7, not 5", "5"), (r"not $\sqrt{2}$", r"\sqrt{2}"), ("less than 7", "7"), ("more than 7", "7"),
        ("10 minus 7", "7"), ("1 over 7", "7"), ("x plus 7", "7"),
        ("10 minus 7", "-7"), ("square root of 16", "16"), ("half of 7", "7"), ("twice 7", "7"),
        ("one third of 21", "21"), ("5 of the 7", "7"),
        ("except 5", "5"), ("everything except for 5", "5"), ("any number but 5", "5"), ("a multiple of 5", "5"),
        ("divisible by 5", "5"), ("greater than or equal to 5", "5"), ("5 with remainder 1", "1"), ("5 mod 6", "6"),
        ("5 per 6", "6"),
        ("5 degrees below zero", "5"), ("falls to 5 degrees below zero", "5"),
    ],
    "two numbers": [
        ("3 blue and 7 red", "7"), ("2 hours and 30 minutes", "30"),
        ("7 out of 10", "10"), ("between 3 and 7", "7"), ("from 3 to 7", "7"),
        ("5 feet 6 inches", "6"), ("5 hours 30 minutes", "30"),
    ],
    "intervals and their ends": [
        (r"\{-2,3\}", "(-2,3)"), (r"x \in (1,2)", r"\{1,2\}"), ("(0,1)", r"\{0,1\}"), ("0<x<1", r"\{0,1\}"),
        ("0<x<1", "0,1"), ("[1,2]", r"\{1,2\}"), ("[0,1)", r"\{0,1\}"),
    ],
    "inequalities and intervals": [
        (r"x \ge 5", r"(5,\infty)"), ("x>2", r"(-\infty,2)"), ("1<x<2", "[1,2]"), ("1<x<2", "(1,2]"), ("x>5", "x<5"),
        (r"x \le 5", "5"), (r"x \neq 5", "5"),
    ],
    "bounds of nothing": [
        (r"\ge 5", "5"), ("≤5", "5"), ("≠ 5", "5"), (">= 5", "5"), (r"\neq 5", "5"), (r"\lt 5", "5"),
    ],
    "formulas that are cut off": [("5+", "5"), ("5 -", "5"), ("5/", "5"), ("5^", "5")],
    "numbers of a table": [("5 & 6", "5"), (r"5 \\ 6", "6"), ("5 | 6", "5")],
    "derivatives": [
        ("y'=2x", "y=2x"), ("y''=2x", "y'=2x"), ("f'(2)=3", "f(2)=3"), ("f^{-1}(x)=2x", "f(x)=2x"),
        (r"f^{\prime}(x)=2x", "f(x)=2x"), ("f'(x)", "f(x)"), ("y''+y=0", "y'+y=0"), ("x'", "x"), ("2y'+1", "2y+1"),
    ],
    "times of day": [
        ("7 a.m.", "7 p.m."), ("12 A.M.", "12 P.M."), ("7am", "7pm"), ("7:30 a.m.", "7:30 p.m."), ("7 a.m.", "7"),
        ("7:00 a.m.", "7:30 a.m."),
    ],
    "no arithmetic": [
        ("2024-01-05", "2024-05-01"), ("12/05/2024", "05/12/2024"), ("2024-01-05", "2018"), ("IV", "VI"), ("XL", "LX"),
        ("no", "on"), ("OK", "KO"), ("US", "SU"), ("A1", "1A"), ("10:30", "1:3"), ("1.2.3", "1.23"),
        ("555-1234", "-679"), ("3-1", "4-2"), ("March 5", "May 3"), ("AM", "MA"), ("192.168.1.1", "192.168.1.2"),
    ],
    "bases": [("10_2", "10_3"), ("52_8", "52_9"), (r"101_{2}", "5"), ("101_2", "1")],
    "tiny numbers": [
        ("10^{-20}", "10^{-21}"), ("2^{-70}", "2^{-71}"), ("e^{-50}", "e^{-51}"),
        (r"1.5\times 10^{-9}", r"2\times10^{-9}"), ("10^{-20}", "0"), ("0.0000673", "0.0000672"),
        (r"\frac{1}{2^{60}}", r"\frac{1}{2^{61}}"),
    ],
    "decimals": [("0.333", "1/3"), ("0.33333", "1/3"), ("1000000.1", "1000000"), ("1000000", "1000001")],
    "the left side": [
        (r"\cos(x)=\frac12", r"\sin(x)=\frac12"), (r"\log(x)=2", r"\ln(x)=2"), ("a^2+b^2=c^2", "a^2-b^2=c^2"),
        ("x^2=4", "y^2=4"),
    ],
    "repeating decimals": [
        ("0.333...", "0.333"), (r"0.\overline{3}", "0.3"), ("0.27...", "0.27"), (r"3.14\ldots", "3.14"),
    ],
    "complex numbers": [("i", "1"), ("2i", "2"), ("a+bi", "a-bi"), (r"\sqrt{-4}", "2")],
    "choices": [("C) 42", "D) 42"), ("(A) 1", "(B) 1"), ("C", "42")],
    "parts": [
        ("(a) 5, (b) 7", "(a) 3, (b) 2"), ("A: 30, B: 60", "A: 40, B: 50"), ("a) 5 b) 7", "a) 5 b) 8"),
        ("(a)(b+c)", "(a)(b-c)"), ("(a) + b", "(a) + c"), ("(a)^2", "(a)^3"),
    ],
    "ratios": [("1:2", "2:1"), ("1:2:3", "1:2:4"), ("3:2:1", "3:2")],
    "symbols": [
        (r"\delta", r"\Delta"), (r"\omega", r"\Omega"), (r"\angle ABC", r"\angle ACB"), (r"\delta x", r"\Delta x"),
        ("2δ", "2Δ"),
    ],
    "sets by a condition": [(r"\{x | x > 3\}", r"\{x | x < 3\}"), (r"\{x \in \mathbb{Z} : x>3\}", r"(3,\infty)")],
    "inequalities in prose": [
        ("x>3 and x<5", "x>3 or x<5"), (r"x > 3 \text{ or } x < 1", "x > 3"), (r"x>3 \land x<5", "x>3 or x<5"),
    ],
    "several letters": [("A, B", "A, C"), ("A, C", "A")],
    "coordinates": [("x=1, y=2", "(2,1)"), ("x=1, y=2", "x=2, y=1")],
    "units": [("5 m", "5 cm"), ("-5 m", "5 meters"), ("x=5 m", "y=5 meters")],
    "derivatives as fractions": [(r"\frac{dy}{dx}=2x", "y=2x"), ("d^2y/dx^2 = 2", "y = 2"), ("dy/dx=2x", "y''=2x")],
    "what is transposed": [
        ("A^T", "A"), ("A^{T}", "A"), ("B^T", "B"), ("x^T y", "xy"), ("A^TB", "AB^T"), (r"A^{\mathrm{T}}", "A"),
        ("2^T", "2"),
    ],
    "lists with a value twice": [("1, 1", "1"), ("1, 1, 2", "1, 2"), ("[1, 1]", "1"), ("5, 5, 3", "5, 3")],
    "numbers of other lands": [
        ("5 millones", "5"), ("5 milliards", "5"), ("5 Millionen", "5"), ("5 mil", "5"), ("5万", "5"), ("5千", "5"),
        ("5亿", "5"),
    ],
    "division by zero": [("1/0", "1"), ("1/0", "2/0"), (r"\frac{5}{0}", "5")],
}  # fmt: skip


def cases(kinds: dict[str, list[tuple[str, str]]]) -> list[object]:
    return [pytest.param(*pair, id=f"{kind}: {pair[0]} ~ {pair[1]}") for kind, pairs in kinds.items() for pair in pairs]


@pytest.mark.parametrize(("one", "other"), cases(EQUAL))
async def test_these_are_equal(one: str, other: str) -> None:
    assert await grade(one, other, PATIENT) is True
    assert await grade(other, one, PATIENT) is True


@pytest.mark.parametrize(("one", "other"), cases(UNEQUAL))
async def test_these_are_not_equal(one: str, other: str) -> None:
    assert await grade(one, other, PATIENT) is False
    assert await grade(other, one, PATIENT) is False
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize("answer", ["x^2<4", "x^2-4<0", "f(x)<2"])
async def test_an_inequality_that_is_not_solved_is_no_interval(answer: str) -> None:
    assert await grade(answer, "(-2,2)", PATIENT) is False
    assert await grade(answer, r"(-\infty,2)", PATIENT) is False


@pytest.mark.parametrize("reference", ["at most 7", r"x \le 7"])
async def test_words_before_a_number_are_compared_with_no_other_words(reference: str) -> None:
    assert decide("at least 7", reference) is None


@pytest.mark.parametrize("prose", ["up to 7", "at least 7", "at most 7", "no more than 7", "over 7", "above 7"])
def test_a_bound_does_not_turn_a_number(prose: str) -> None:
    assert decide(prose, "7") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5 hours", "5 minutes"),
        ("5 dollars", "5 cents"),
        (r"\$5", r"5\text{ cents}"),
        ("30°C", "30°F"),
        ("5 km", "5 cm"),
        ("5 km/h", r"5\text{ m/s}"),
        ("5 cm^2", "5 cm"),
        (r"5\text{ cm}^2", r"5\text{ cm}^3"),
        ("5 degrees", "5 radians"),
        ("x = 5 cm", "5 mm"),
        ("1/2 hour", "0.5 minutes"),
        ("5 J", "5 kJ"),
        ("5 J", "5 W"),
        ("5 N", "5 kN"),
        ("5 Hz", "5 kHz"),
        ("5 atm", "5 kPa"),
        ("5 GB", "5 MB"),
        ("5 bits", "5 bytes"),
        ("60 mph", "60 km/h"),
        (r"300\text{ K}", r"300^\circ\text{C}"),
    ],
)
def test_two_units_of_one_number_are_not_one_measure(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)
    assert decide(one, other) is decide(other, one) is False


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a loss of 5 dollars", "a profit of 5 dollars"),
        ("5 steps left", "5 steps right"),
        ("5 km north", "5 km south"),
        ("10 years older", "10 years younger"),
        ("an increase of 5%", "a decrease of 5%"),
        ("90 degrees clockwise", "90 degrees counterclockwise"),
        ("3 years ago", "3 years from now"),
        ("5 fewer", "5 more"),
        ("5 mW", "5 MW"),
    ],
)
def test_a_word_that_is_the_opposite_is_no_other_way_to_say_it(one: str, other: str) -> None:
    assert decide(one, other) is decide(other, one) is False


def test_words_that_oppose_nothing_leave_a_number_as_it_is() -> None:
    assert decide("5 left", "5") is True
    assert decide("60 mph", "60 miles per hour") is True
    assert decide("5 joules", "5 J") is True


async def test_two_names_of_one_number_are_not_one_equation() -> None:
    assert await grade("x = 5", "y = 5") is False
    assert await grade("x = 5", "x=5") is True
    assert await grade("P(A) = 1/2", "P(B) = 1/2") is False
    assert await grade(r"\theta = 30", r"\phi = 30") is False
    assert await grade("AB = 5", "CD = 5") is False
    assert await grade("AB = 5", "BA = 5") is True
    assert await grade("f(x) = 5", "y = 5") is True


@pytest.mark.parametrize(
    ("one", "other"),
    [("1/2", "0.5"), ("5 apples", "6"), ("1/3", "0.3333333"), ("10_2", "10_3"), ("IV", "VI"), ("2:4", "1:2")],
)
def test_plain_answers_need_no_symbols(one: str, other: str) -> None:
    assert decide(one, other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("4210_{5}", "4210_5"),
        ("about 5", "5"),
        ("approximately $18", "18"),
        ("≈ 3.14", "3.14"),
        (r"x \approx 3.14", "3.14"),
        ("1 million", "1000000"),
        ("C) 42", "C"),
        ("Option B", "B"),
        ("2:4:6", "1:2:3"),
        ("1 and 2", "1, 2"),
        ("9.8 m/s^2", "9.8"),
        ("４２", "42"),
        ("1.234,56", "1234.56"),
    ],
)
def test_these_vote_together(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


def test_a_european_number_is_no_list() -> None:
    assert "," not in canonical("1.234,56")
    assert canonical("1,22") == "1, 22"
