// Where the page's data comes from: blocks in the page itself, or the server that a live page asks.

async function unpack(name) {
  const letters = document.getElementById(name).textContent;
  const bytes = Uint8Array.from(atob(letters), (each) => each.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

const chunks = new Map();

function embedded() {
  return {
    live: false,
    summaries: () => unpack("summary"),
    async problem(run, place) {
      if (!place) return null;
      const name = `run-${run}-${place[0]}`;
      if (!chunks.has(name)) chunks.set(name, unpack(name));
      return (await chunks.get(name))[place[1]];
    },
  };
}

let key = ""; // of a server that needs one, held by this page alone

const locked = document.getElementById("locked");
const identified = () => (key ? { Authorization: `Bearer ${key}` } : {});
const NOTHING = [{ name: "latest requests", folder: "", about: {}, places: [], columns: {} }];

// What a reply that failed says: its text or the message in its JSON. The source of an HTML page says nothing.
async function readRefusal(reply) {
  const kind = (reply.headers.get("Content-Type") || "").split(";")[0];
  const text = await reply.text();
  let said = kind === "text/plain" ? text : "";
  try {
    if (kind === "application/json") said = String(JSON.parse(text).error.message);
  } catch {
    // JSON of another form
  }
  return said || reply.statusText || `status ${reply.status}`;
}

function served() {
  const ask = async (path) => {
    if (locked && !key) return NOTHING;
    const reply = await fetch(path, { headers: identified() });
    if (reply.status === 401) return NOTHING;
    if (!reply.ok) throw new Error(await readRefusal(reply));
    return reply.json();
  };
  return {
    live: true,
    summaries: () => ask("/runs"),
    problem: (run, place, id) => ask(`/problem?${new URLSearchParams({ run, id })}`),
  };
}

const source = document.getElementById("live") ? served() : embedded();

// One row a problem, in the order of their ids, with a cell for each run: null where a run has not solved it.
function joined(runs) {
  const rows = new Map();
  runs.forEach((run, place) => {
    const { columns } = run;
    (columns.id || []).forEach((id, index) => {
      if (!rows.has(id)) rows.set(id, { id, cells: runs.map(() => null), tags: Object.create(null) });
      const row = rows.get(id);
      const cell = { place: run.places[index] };
      for (const name of Object.keys(columns)) cell[name] = columns[name][index];
      row.cells[place] = cell;
      row.prompt = row.prompt || cell.prompt;
      row.reference = row.reference ?? cell.reference;
      Object.assign(row.tags, cell.tags);
    });
  });
  for (const row of rows.values()) {
    const texts = [row.id, row.prompt, row.reference, ...row.cells.map((cell) => cell && cell.answer)];
    row.haystack = [...texts, ...Object.values(row.tags)].filter(Boolean).join("\n").toLowerCase();
  }
  const ordered = [...rows.values()].sort((a, b) => collator.compare(a.id, b.id));
  ordered.forEach((row, place) => {
    row.number = place;
  });
  return ordered;
}
