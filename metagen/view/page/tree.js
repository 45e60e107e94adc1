// A search tree: steps grow to the right, branches fold, and only what is in sight is drawn.

const STEP = { x: 236, y: 30 };
const STATES = new Map([
  ["closed", "dropped"],
  ["drawn", "expanded"],
  ["finished", "a whole reply"],
  ["open", "never expanded"],
]);
const MANY = 120; // nodes; larger trees begin folded off the way to the answer

const LABEL = 28; // characters of a step that stand beside its node
const beginning = (text) => (text.length > LABEL ? `${text.slice(0, LABEL)}…` : text);

class SearchTree {
  // A tree that has grown is shown as it was `before`: its place, what is folded, and which node is selected.
  constructor(nodes, before = null) {
    const known = before ? before.nodes : [];
    this.nodes = nodes.map((node, place) => ({ ...node, children: [], folded: place < known.length && known[place].folded }));
    this.nodes.forEach((node) => {
      if (node.parent >= 0) this.nodes[node.parent].children.push(node);
      node.above = node.parent >= 0 ? this.nodes[node.parent] : null;
      node.depth = node.above ? node.above.depth + 1 : 0;
    });
    this.selected = this.nodes[before ? known.indexOf(before.selected) : 0];
    this.view = before ? before.view : { x: 16, y: 28, scale: 1 };
    if (!before && nodes.length > MANY) this.foldAll();
    this.canvas = svg("svg", { "aria-hidden": "true" });
    this.said = el("div", { class: "said", "aria-live": "polite" });
    this.frame = el(
      "div",
      { class: "tree", tabindex: "0", role: "group", "aria-label": `Search tree of ${counted(nodes.length, "node")}. Arrow keys move, Enter folds, plus and minus zoom.` },
      this.canvas,
    );
    this.listen();
    this.element = el("div", {}, this.tools(), this.frame, this.said);
    new ResizeObserver(() => this.draw()).observe(this.frame);
    this.layout();
    this.select(this.selected);
  }

  tools() {
    return el(
      "p",
      { class: "tools" },
      button("Fold", () => this.change(() => this.foldAll())),
      button("Unfold all", () => this.change(() => this.nodes.forEach((node) => { node.folded = false; }))),
      button("+", () => this.zoom(1.25), { "aria-label": "Zoom in" }),
      button("−", () => this.zoom(0.8), { "aria-label": "Zoom out" }),
      button("Fit", () => this.fit()),
      el("span", { class: "faint" }, `${counted(this.nodes.length - 1, "node")}; blue: a high value, vermilion: a low one; thick: the way to the answer; dashed: dropped`),
    );
  }

  // All branches but those on the way to the answer.
  foldAll() {
    this.nodes.forEach((node) => { node.folded = Boolean(node.children.length) && !node.chosen; });
  }

  change(how) {
    how();
    this.layout();
    this.draw();
  }

  // The places of all nodes that no fold hides: leaves below each other, a parent in the middle of its children.
  layout() {
    let line = 0;
    this.shown = [];
    const waiting = this.nodes.filter((node) => node.parent < 0).reverse().map((node) => [node, false]);
    while (waiting.length) {
      const [node, done] = waiting.pop();
      const children = node.folded ? [] : node.children;
      node.x = node.depth * STEP.x;
      if (done) {
        node.y = (children[0].y + children.at(-1).y) / 2;
      } else {
        this.shown.push(node);
        if (children.length) {
          waiting.push([node, true]);
          for (let place = children.length - 1; place >= 0; place -= 1) waiting.push([children[place], false]);
        } else {
          node.y = line * STEP.y;
          line += 1;
        }
      }
    }
    this.lines = line;
    this.frame.style.height = `${Math.min(560, Math.max(140, line * STEP.y + 40))}px`;
  }

  draw() {
    const { x, y, scale } = this.view;
    const [width, height] = [this.frame.clientWidth || 800, this.frame.clientHeight || 400];
    const inSight = (node) => {
      const top = node.y * scale + y;
      const left = node.x * scale + x;
      return top > -STEP.y && top < height + STEP.y && left > -STEP.x * scale && left < width + STEP.x;
    };
    const drawn = this.shown.filter((node) => inSight(node) || (node.above && inSight(node.above)));
    const labels = scale > 0.45;
    const dots = drawn.filter((node) => inSight(node) && (scale > 0.2 || node.chosen || node === this.selected));
    this.canvas.replaceChildren(svg("g", { transform: `translate(${x} ${y}) scale(${scale})` }, ...this.edges(drawn), ...dots.map((node) => this.dot(node, labels))));
  }

  // The lines to these nodes: one path for each kind, since thousands of elements would be slow.
  edges(nodes) {
    const paths = { "edge closed": "", edge: "", "edge chosen": "" };
    for (const node of nodes) {
      const from = node.above;
      if (!from) continue;
      const middle = from.x + (node.x - from.x) / 3;
      const kind = node.chosen ? "edge chosen" : node.state === "closed" ? "edge closed" : "edge";
      paths[kind] += `M${from.x} ${from.y}C${middle} ${from.y} ${middle} ${node.y} ${node.x} ${node.y}`;
    }
    return Object.entries(paths).map(([kind, d]) => svg("path", { d, class: kind }));
  }

  dot(node, labels) {
    const colour = node.value === null ? "var(--faint)" : valueColour(node.value);
    const circle = svg("circle", { r: node === this.selected ? 9 : 7, class: node === this.selected ? "selected" : null, style: { fill: colour } });
    const folded = node.folded && node.children.length ? ` (+${number(this.below(node), 0)})` : "";
    const value = node.value === null ? "" : `${node.value.toFixed(2)} `;
    const text = `${value}${beginning(visible((node.text.trim() || node.thought || "").trim()))}${folded}`;
    const attributes = { class: STATES.has(node.state) ? `node ${node.state}` : "node", transform: `translate(${node.x} ${node.y})`, onclick: () => this.press(node) };
    return svg("g", attributes, circle, labels ? svg("text", { x: 10, y: -8 }, text) : null);
  }

  below(node) {
    return node.children.reduce((sum, child) => sum + 1 + this.below(child), 0);
  }

  press(node) {
    if (node === this.selected && node.children.length) this.change(() => { node.folded = !node.folded; });
    this.select(node);
    this.frame.focus({ preventScroll: true });
  }

  select(node) {
    this.selected = node;
    const facts = [
      node.above ? `Step ${node.depth}` : "The beginning",
      node.value !== null && `value ${number(node.value)}`,
      node.count > 1 && `drawn ${node.count} times`,
      STATES.get(node.state) || visible(node.state),
      node.chosen && "on the way to the answer",
    ].filter(Boolean);
    this.said.replaceChildren(el("p", { class: "faint" }, facts.join(" · ")), ...[thoughtPart(node.thought), prose(node.text)].filter(Boolean));
    this.draw();
  }

  key(event) {
    const node = this.selected;
    const siblings = node.above ? node.above.children : [node];
    const beside = (by) => siblings[siblings.indexOf(node) + by];
    const open = () => { node.folded = false; };
    const moves = {
      ArrowLeft: () => node.above,
      ArrowRight: () => (node.folded ? this.change(open) : null) || node.children[0],
      ArrowUp: () => beside(-1),
      ArrowDown: () => beside(1),
    };
    const acts = { Enter: () => this.press(node), "+": () => this.zoom(1.25), "-": () => this.zoom(0.8) };
    if (event.key in moves) this.reach(moves[event.key]() || node);
    else if (event.key in acts) acts[event.key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // Select a node and bring it into sight.
  reach(node) {
    const { x, y, scale } = this.view;
    const [left, top] = [node.x * scale + x, node.y * scale + y];
    if (left < 20 || left > this.frame.clientWidth - STEP.x) this.view.x = this.frame.clientWidth / 3 - node.x * scale;
    if (top < 20 || top > this.frame.clientHeight - 20) this.view.y = this.frame.clientHeight / 2 - node.y * scale;
    this.select(node);
  }

  zoom(by, at) {
    const { x, y, scale } = this.view;
    const [left, top] = at || [this.frame.clientWidth / 2, this.frame.clientHeight / 2];
    const now = Math.max(0.02, Math.min(3, scale * by));
    this.view = { x: left - ((left - x) * now) / scale, y: top - ((top - y) * now) / scale, scale: now };
    this.draw();
  }

  fit() {
    const deepest = this.shown.reduce((most, node) => Math.max(most, node.depth), 0);
    const [width, height] = [(deepest + 1) * STEP.x, this.lines * STEP.y + 20];
    const scale = Math.max(0.02, Math.min(1, this.frame.clientWidth / width, this.frame.clientHeight / height));
    this.view = { x: 16 * scale, y: 28, scale };
    this.draw();
  }

  listen() {
    this.frame.addEventListener("keydown", (event) => this.key(event));
    this.frame.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? 1.15 : 0.87, [event.offsetX, event.offsetY]);
    }, { passive: false });
    let from = null;
    const end = () => { from = null; };
    this.canvas.addEventListener("pointerdown", (event) => {
      from = [event.clientX - this.view.x, event.clientY - this.view.y];
      window.addEventListener("pointerup", end, { once: true });
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      this.view.x = event.clientX - from[0];
      this.view.y = event.clientY - from[1];
      this.draw();
    });
  }
}
