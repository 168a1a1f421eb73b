"use strict";
// Shows pictures that were decoded beforehand; they lie in sheets, row by row. All text is inserted as text.
const known = JSON.parse(document.getElementById("known").textContent);
const [width, height] = known.size;
const find = selector => document.querySelector(selector);
const findAll = selector => [...document.querySelectorAll(selector)];

function draw(canvas, sheet, index) {
  const columns = known.columns[sheet];
  canvas.width = width; // also clears it
  canvas.height = height;
  canvas.getContext("2d").drawImage(document.getElementById(`sheet-${sheet}`),
    index % columns * width, Math.floor(index / columns) * height, width, height, 0, 0, width, height);
}

function signed(text) {
  return text > 0 ? `+${text}` : `${text}`.replace("-", "−");
}

function startPlane() {
  const plane = find("#plane"), ring = find("#ring"), slider = find("#datum");
  const show = i => {
    ring.setAttribute("cx", known.points[i][0]);
    ring.setAttribute("cy", known.points[i][1]);
    ring.classList.add("placed");
    draw(find("#datum-picture"), "data", i);
    draw(find("#reconstruction"), "data", known.names.length + i);
    find("#datum-name").textContent = known.names[i];
    find("#datum-picture").setAttribute("aria-label", known.names[i]);
    find("#reconstruction").setAttribute("aria-label", `reconstruction of ${known.names[i]}`);
    slider.value = i;
    slider.setAttribute("aria-valuetext", known.names[i]);
  };
  const shown = new Set(); // the classes that are shown alone; none: all are shown
  const groups = findAll("#plane .points");
  const point = event => {
    const {x, y} = new DOMPoint(event.clientX, event.clientY).matrixTransform(plane.getScreenCTM().inverse());
    const distance = ([a, b], i) => !shown.size || shown.has(known.labels[i]) ? (a - x) ** 2 + (b - y) ** 2 : Infinity;
    const distances = known.points.map(distance);
    show(distances.indexOf(Math.min(...distances)));
  };
  plane.addEventListener("pointerdown", point);
  plane.addEventListener("pointermove", point);
  slider.addEventListener("input", () => show(Number(slider.value)));
  for (const button of findAll("[data-only]")) {
    button.addEventListener("click", () => {
      const only = Number(button.dataset.only);
      if (!shown.delete(only)) shown.add(only);
      button.setAttribute("aria-pressed", shown.has(only));
      for (const group of groups) group.classList.toggle("dim", shown.size > 0 && !shown.has(Number(group.dataset.class)));
    });
  }
  show(0);
}

function startSliders() {
  const sliders = findAll("[data-unit]"), positions = known.deviations.length;
  const show = slider => {
    const start = Number(find("[name=middle]:checked").value) + 1, unit = Number(slider.dataset.unit);
    const position = Number(slider.value), canvas = slider.closest(".slider").querySelector("canvas");
    const text = `${signed(known.deviations[position])} sd: ${signed(known.values[start][unit][position].toFixed(2))}`;
    draw(canvas, "sliders", (start * sliders.length + unit) * positions + position);
    canvas.setAttribute("aria-label", `decoded at ${text}`);
    slider.closest(".slider").querySelector("output").textContent = text;
    slider.setAttribute("aria-valuetext", text);
  };
  const showAll = () => sliders.forEach(show);
  for (const slider of sliders) slider.addEventListener("input", () => show(slider));
  for (const choice of findAll("[name=middle]")) choice.addEventListener("change", showAll);
  find("#reset").addEventListener("click", () => {
    for (const slider of sliders) slider.value = (positions - 1) / 2;
    showAll();
  });
  showAll();
}

function startPaths() {
  const n = known.anchors.length, steps = known.steps, slider = find("#step"), strip = find(".strip");
  const thumbs = Array.from({length: steps}, () => strip.appendChild(document.createElement("canvas")));
  const pair = (a, b) => a * (2 * n - a - 1) / 2 + b - a - 1; // of a < b, in the order of the sheet
  const picture = (a, b, step) => a < b ? pair(a, b) * steps + step
    : a > b ? pair(b, a) * steps + steps - 1 - step
    : a > 0 ? pair(0, a) * steps + steps - 1 : 0; // the end of a path
  const show = () => {
    const [a, b] = ["from", "to"].map(name => Number(find(`[name=${name}]:checked`).value));
    const step = Number(slider.value), share = `${Math.round(100 * step / (steps - 1))}%`;
    thumbs.forEach((thumb, i) => {
      draw(thumb, "paths", picture(a, b, i));
      thumb.classList.toggle("now", i === step);
    });
    draw(find("#path-picture"), "paths", picture(a, b, step));
    const [from, to] = [a, b].map(i => known.names[known.anchors[i]]);
    find("#path-picture").setAttribute("aria-label", `${share} of the way from ${from} to ${to}`);
    find("#path-text").textContent = share;
    slider.setAttribute("aria-valuetext", share);
  };
  thumbs.forEach((thumb, i) => thumb.addEventListener("click", () => { slider.value = i; show(); }));
  for (const choice of findAll("[name=from], [name=to]")) choice.addEventListener("change", show);
  slider.addEventListener("input", show);
  show();
}

window.addEventListener("load", () => {
  for (const canvas of findAll("[data-picture]")) draw(canvas, "data", Number(canvas.dataset.picture));
  if (find("#plane")) startPlane();
  startSliders();
  if (find("#step")) startPaths();
});
