// Differences between two texts, word by word.

const MOST_WORDS = 1500;

// Pairs of a sign (" ", "-" or "+") and a text, by the longest common subsequence of words.
function differences(before, after) {
  const [a, b] = [before, after].map((text) => text.split(/(\s+)/).filter(Boolean));
  if (a.length > MOST_WORDS || b.length > MOST_WORDS) return [["-", before], ["+", after]];
  const lengths = common(a, b);
  const found = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      found.push([" ", a[i]]);
      i += 1;
      j += 1;
    } else if (j === b.length || (i < a.length && lengths[i + 1][j] >= lengths[i][j + 1])) {
      found.push(["-", a[i]]);
      i += 1;
    } else {
      found.push(["+", b[j]]);
      j += 1;
    }
  }
  return found;
}

// How many words the rests of two texts have in common, from each pair of places on.
function common(a, b) {
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      lengths[i][j] = a[i] === b[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  return lengths;
}

function compared(before, after) {
  const names = { "-": "del", "+": "ins" };
  const parts = differences(before, after).map(([sign, text]) =>
    names[sign] ? el(names[sign], {}, visible(text)) : visible(text),
  );
  return el("div", { class: "prose" }, ...parts);
}
