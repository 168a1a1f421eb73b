const byId = (id) => document.getElementById(id);
let shown = "";

function fill(id, rows) {
  byId(id).replaceChildren(...rows.map((texts) => {
    const line = document.createElement("tr");
    for (const text of texts) line.appendChild(document.createElement("td")).textContent = text;
    return line;
  }));
}

function show(state) {
  byId("title").textContent = document.title = state.title;
  byId("state").textContent = state.t ? `step ${state.t} of ${state.steps}` : "no row is logged yet";
  byId("bar").max = state.steps;
  byId("bar").value = state.t;
  fill("runs", state.runs);
  fill("row", Object.entries(state.row).map(([name, value]) =>
    [name, typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(5) : value]));
  for (const [id, source] of [["curves", state.t ? `curves.svg?${encodeURIComponent(state.title)}-${state.t}` : ""], ["picture", state.picture]]) {
    if (source) byId(id).src = source;
    byId(id).hidden = !source;
  }
}

async function follow() {
  try {
    const text = await (await fetch("state")).text();
    if (text !== shown) show(JSON.parse(text));
    shown = text;
  } catch {
    byId("state").textContent = "pyrogen watch has ended";
  }
  setTimeout(follow, 2000);
}
follow();
