// What happened: the tree of spans with its times, and the chain of replies and tools.

const AT_ONCE = 200; // spans that are listed before a button offers more

function kindOf(span) {
  if (span.call) return "tool";
  if (span.verifying) return "verifier";
  return span.request ? "model" : "strategy";
}

function waterfall(spans) {
  const end = Math.max(1e-9, ...spans.slice(0, 5000).map((span) => (span.started || 0) + (span.seconds || 0)));
  const list = el("div", { class: "waterfall" });
  let shown = 0;
  const more = button("", () => add());
  const add = () => {
    const next = spans.slice(shown, shown + AT_ONCE);
    shown += next.length;
    list.append(...next.map((span) => spanLine(span, end)));
    more.hidden = shown >= spans.length;
    more.textContent = `Show more of ${number(spans.length, 0)}`;
  };
  add();
  const waited = spans.reduce((sum, span) => sum + (span.waited || 0), 0);
  const kinds = ["model", "verifier", "tool", "strategy", ...(waited ? ["waiting"] : [])];
  return el(
    "div",
    {},
    el("p", { class: "legend" }, ...kinds.flatMap((kind) => [el("span", { class: `key ${kind}` }), kind])),
    waited ? el("p", { class: "faint" }, `Requests waited ${number(waited, 3)} s in all before a model took them.`) : null,
    list,
    more,
  );
}

function spanLine(span, end) {
  const wait = span.waited ? el("span", { class: "wait" }) : null;
  if (wait) wait.style.width = `${(100 * span.waited) / span.seconds}%`;
  const bar = el("span", { class: `span ${kindOf(span)} ${span.status}` }, wait);
  bar.style.left = `${(100 * (span.started || 0)) / end}%`;
  bar.style.width = `max(2px, ${(100 * (span.seconds || 0)) / end}%)`;
  const name = el("span", { class: "name" }, visible(span.name));
  name.style.paddingLeft = `${Math.min(12, span.path ? span.path.split(".").length : 0) * 0.9}rem`;
  const status = span.status === "ok" ? "" : ` ${span.status}`;
  const title = el("span", { class: "line" }, name, el("span", { class: "faint time" }, `${number(span.seconds || 0, 3)} s${status}${span.waited ? `, waited ${number(span.waited, 3)} s` : ""}`), el("span", { class: "track" }, bar));
  return folded(title, () => spanDetails(span), false);
}

function spanDetails(span) {
  const verdicts = (span.verdicts || []).map((value) => (value === null ? "none" : number(value)));
  const parts = [
    span.error ? el("p", { class: "error" }, visible(span.error)) : null,
    span.usage ? el("p", { class: "faint" }, spent(span.usage)) : null,
    ...(span.notes || []).map((note) => el("p", {}, visible(note))),
    span.request ? requestPart(span.request) : null,
    ...(span.completions || []).map((each) => el("div", { class: "reply" }, thoughtPart(each.thought), prose(each.text), each.cut ? el("p", { class: "faint" }, "cut off") : null)),
    verdicts.length ? el("p", {}, `Verdicts: ${verdicts.join(", ")}`) : null,
    span.expansion ? el("p", {}, `${counted(span.expansion.n, "step")} drawn, ${number((span.expansion.children || []).length, 0)} distinct.`) : null,
    span.feedback ? el("blockquote", {}, prose(span.feedback.text)) : null,
    span.call ? callPart(span) : null,
    ...(span.replies || []).slice(0, 50).map((text) => el("div", { class: "reply" }, prose(text))),
  ].filter(Boolean);
  return el("div", { class: "card" }, ...(parts.length ? parts : [el("p", { class: "faint" }, "All of it is in the parts below.")]));
}

// A request as it was sent. One that `tells` of a conversation is open, since the question alone says too little.
function requestPart(request, tells = false) {
  const turns = request.messages && request.messages.length ? request.messages : [{ role: "user", content: request.prompt }];
  const parts = () => el("div", {}, ...turns.map(turnPart), request.partial ? turnPart({ role: "assistant, begun", content: request.partial }) : null);
  const to = request.model ? ` to ${request.model}` : "";
  const before = turns.filter((turn) => turn.role !== "system").length > 1;
  return folded(visible(`Request${to} for ${counted(request.n || 1, "sample")}`), parts, tells && before);
}

function turnPart(turn) {
  const content = typeof turn.content === "string" ? turn.content : JSON.stringify(turn.content ?? turn, null, 1);
  return el("div", { class: `turn ${turn.role === "user" ? "user" : ""}` }, el("p", { class: "faint" }, visible(String(turn.role))), prose(content));
}

function callPart(span) {
  const { input, output, refusal } = span.call;
  const said = output ?? refusal;
  return el(
    "div",
    { class: "turn tool" },
    el("p", { class: "faint" }, visible(`${span.name} was given`)),
    el("pre", { class: "code", tabindex: "0" }, ...highlighted(input)),
    el("p", { class: "faint" }, output === undefined || output === null ? (refusal ? "and refused" : "and failed") : "and returned"),
    said ? el("pre", { class: "code", tabindex: "0" }, visible(said)) : null,
  );
}

// Replies and calls of tools in their order, where tools were called.
function chain(spans) {
  if (!spans.some((span) => span.call)) return null;
  const parts = spans.filter((span) => !span.verifying && span.status !== "cancelled").flatMap((span) => {
    if (span.call) return [callPart(span)];
    return (span.completions || []).map((each) => el("div", { class: "turn" }, el("p", { class: "faint" }, visible(span.name)), thoughtPart(each.thought), prose(each.text)));
  });
  return el("div", { class: "chain" }, ...parts);
}
