// What models wrote, as nodes: equations by KaTeX as MathML, code in colours, the rest as text.

// Characters that steer, hide or reorder text, and those that show nothing, are shown as escapes. Spared is what makes a
// sign an emoji, or keeps it from being one, and what joins emoji, or letters of scripts that write them joined.
const SELECTED = "(?<!\\p{Emoji})[\\ufe0e\\ufe0f]";
const EMOJI = "(?<=[\\p{So}\\p{Sk}\\ufe0f])\\u200d(?=\\p{S})";
const VIRAMAS = "\\u094d\\u09cd\\u0a4d\\u0acd\\u0b4d\\u0bcd\\u0c4d\\u0ccd\\u0d4d\\u0dca"; // of India and Sri Lanka
const LETTERS = `(?<=[\\p{Script=Arabic}\\p{Script=Syriac}${VIRAMAS}])[\\u200c\\u200d]`;
const UNSEEN =
  "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u2028\\u2029\\u2800\\ufff9-\\ufffb\\p{Cs}\\p{Default_Ignorable_Code_Point}]";
const HIDDEN = new RegExp(`${SELECTED}|(?![\\ufe0e\\ufe0f]|${EMOJI}|${LETTERS})${UNSEEN}`, "gu");
const OPERATORS = /[\u2061-\u2064]/g; // between the signs of an equation KaTeX writes them itself

const PARTS = new RegExp(
  [
    "```([\\w+-]*)\\n([\\s\\S]*?)(?:```|$)", // a block of code: 1 its language, 2 the code
    "`([^`\\n]+)`", // 3 code in a line
    "\\$\\$([^$]{1,2000}?)\\$\\$", // 4 to 7 equations
    "\\\\\\[([\\s\\S]{1,2000}?)\\\\\\]",
    "\\\\\\(([\\s\\S]{1,2000}?)\\\\\\)",
    "\\$((?=[^\\s$])[^$\\n]{0,500}?[^\\s$])\\$(?!\\d)",
    "(\\\\begin\\{((?:equation|align|alignat|gather)\\*?)\\}[\\s\\S]{1,2000}?\\\\end\\{\\9\\})", // 8, of the kind 9
  ].join("|"),
  "g",
);

const PYTHON = new RegExp(
  "(#[^\\n]*)|(\"(?:[^\"\\\\\\n]|\\\\.)*\"|'(?:[^'\\\\\\n]|\\\\.)*')|\\b(\\d+(?:\\.\\d+)?)\\b|" +
    "\\b(and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from|if|import|in|is|" +
    "lambda|None|not|or|pass|raise|return|True|False|try|while|with|yield|print)\\b",
  "g",
);
const KINDS = ["comment", "string", "number", "keyword"];

function visible(text) {
  return text.replace(HIDDEN, (each) => {
    const code = each.codePointAt(0).toString(16);
    return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`;
  });
}

// Calls `other` on what lies between matches and `matched` on each match, and returns all nodes.
function between(text, pattern, matched, other) {
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > at) nodes.push(other(text.slice(at, match.index)));
    nodes.push(matched(match));
    at = match.index + match[0].length;
  }
  if (at < text.length) nodes.push(other(text.slice(at)));
  return nodes;
}

function highlighted(code) {
  const colour = (match) => {
    const kind = KINDS[match.slice(1).findIndex((each) => each !== undefined)];
    return el("span", { class: `code-${kind}` }, match[0]);
  };
  return between(visible(code), PYTHON, colour, (text) => text);
}

const hides = (text) => visible(text) !== text;

// An equation that holds hidden characters, or makes them by \char, is shown as it was written.
function equation(written, source, display) {
  const holder = el("span", { class: display ? "equation display" : "equation" });
  try {
    if (hides(source)) throw new Error("hidden characters");
    katex.render(source, holder, {
      displayMode: display,
      maxExpand: 200,
      maxSize: 20,
      output: "mathml",
      strict: "ignore",
      throwOnError: true,
      trust: false,
    });
    if (hides(holder.textContent.replace(OPERATORS, ""))) throw new Error("hidden characters");
  } catch {
    holder.textContent = visible(written);
    holder.classList.add("unread");
  }
  return holder;
}

function formatted(match) {
  const [written, , block, code, dollars, brackets, parentheses, dollar, environment] = match;
  if (block !== undefined) return el("pre", { class: "code", tabindex: "0" }, ...highlighted(block));
  if (code !== undefined) return el("code", {}, visible(code));
  const display = dollars ?? brackets ?? environment;
  return equation(written, display ?? parentheses ?? dollar, display !== undefined);
}

function rich(text) {
  return between(text, PARTS, formatted, visible);
}

function prose(text, attributes) {
  return el("div", { class: "prose", ...attributes }, ...rich(text));
}

// A reply whose steps have values: each step beside its value, coloured by it.
function stepped(text, values) {
  const pieces = text.split("\n").filter((piece) => piece.trim());
  if (!values.length || pieces.length !== values.length) return prose(text);
  const steps = pieces.map((piece, place) => {
    const value = values[place]; // null where it was no finite number
    return el(
      "li",
      { style: { borderLeftColor: valueColour(value ?? 0) } },
      el("span", { class: "value", title: "Process reward" }, value === null ? "none" : value.toFixed(2)),
      prose(piece),
    );
  });
  return el("ol", { class: "steps" }, ...steps);
}

// From vermilion over grey to blue, which those who do not tell red from green tell apart.
function valueColour(value) {
  const share = Math.max(0, Math.min(1, value));
  const [from, to, part] = share < 0.5
    ? [[213, 94, 0], [170, 170, 170], share * 2]
    : [[170, 170, 170], [0, 114, 178], share * 2 - 1];
  return `rgb(${from.map((low, place) => Math.round(low + (to[place] - low) * part)).join(" ")})`;
}
