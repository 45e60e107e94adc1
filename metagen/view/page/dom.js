// Elements, made without markup: texts become text nodes, whatever they hold.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function el(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function button(label, onclick, attributes) {
  return el("button", { type: "button", onclick, ...attributes }, label);
}

// A part that folds; its content is made when it is first opened.
function folded(title, make, open) {
  const details = el("details", {}, el("summary", {}, title));
  const show = () => {
    if (details.open && details.children.length === 1) details.append(make());
  };
  details.addEventListener("toggle", show);
  if (open) {
    details.open = true;
    show();
  }
  return details;
}

function number(value, digits) {
  return value === null || value === undefined
    ? ""
    : value.toLocaleString("en", { maximumFractionDigits: digits === undefined ? 3 : digits });
}

function counted(count, word) {
  return `${number(count, 0)} ${word}${count === 1 ? "" : "s"}`;
}

function large(value) {
  if (!value) return "";
  return value < 1e5 ? number(value, 0) : value.toExponential(2).replace("e+", "e");
}

function money(value) {
  return value ? value.toLocaleString("en", { maximumSignificantDigits: 3 }) : "";
}

// What was spent, from the fields of a `Usage`; costs are in trillionths of the money.
function spent(usage) {
  const amount = (name, count) => {
    if (name.endsWith("cost")) return money(count / 1e12);
    return name.endsWith("flops") ? large(count) : number(count, 2);
  };
  const called = (name, count) =>
    name
      .replaceAll("_", " ")
      .replace("calls", "requests")
      .replace("verifier cost", "of money for verifiers")
      .replace("cost", "of money")
      .replace("flops", "FLOPs")
      .replace(/s$/, count === 1 ? "" : "s")
      .replace("seconds", "seconds in requests");
  return Object.entries(usage).map(([name, count]) => `${amount(name, count)} ${called(name, count)}`).join(" · ");
}

function percent(part, whole) {
  return whole ? `${((100 * part) / whole).toFixed(1)}%` : "";
}
