// what an evaluation of several labels adds to a page of maps: numbers, curves, labels
let chosen = 0;
const label = () => told().labels[chosen];

// precision over recall: points are recall, precision and the lowest probability taken
const curve = () => view(Float32Array, told().curves[chosen]);
const EDGE = 8;  // pixels around it
function draw(marked) {
  const canvas = $("curve"), pen = pen2d(canvas), side = canvas.width, points = curve();
  const across = (share) => EDGE + (side - 2 * EDGE) * share;
  const place = (at) => [across(points[at]), across(1 - points[at + 1])];
  pen.clearRect(0, 0, side, side);
  pen.strokeStyle = ink("--faint");
  pen.lineWidth = 1;
  pen.setLineDash([2, 4]);
  pen.strokeRect(EDGE, across(1 - label().images / told().images), side - 2 * EDGE, 0);
  pen.setLineDash([]);
  pen.strokeStyle = "#0072B2";
  pen.lineWidth = 2;
  pen.beginPath();
  for (let at = 0; at < points.length; at += 3) pen[at ? "lineTo" : "moveTo"](...place(at));
  pen.stroke();
  const dot = (at, size, fill) => {
    pen.beginPath();
    pen.arc(...place(at), size, 0, 7);
    pen[fill ? "fill" : "stroke"]();
  };
  pen.fillStyle = "#D55E00";
  pen.strokeStyle = "#D55E00";
  const taken = (threshold) => {  // the last point above it
    let last = -1;
    for (let at = 0; at < points.length; at += 3) if (points[at + 2] > threshold) last = at;
    return last;
  };
  const half = taken(0.5), fitted = label().threshold === null ? -1 : taken(label().threshold);
  if (half >= 0) dot(half, 4, true);
  if (fitted >= 0) dot(fitted, 7, false);
  if (marked === undefined) return;
  pen.fillStyle = ink("--ink");
  dot(marked, 4, true);
}
function summary() {
  const { name, images, ranked, interval, threshold, fitted } = label();
  $("label").textContent = `${name}: precision over recall`;
  const score = ranked === null ? "no image bears it"
    : `average precision ${ranked.toFixed(3)} (${interval.map((x) => x.toFixed(3)).join("-")})`;
  const tuned = threshold === null || fitted === null ? ""
    : `; F1 ${fitted.toFixed(3)} above the fitted ${threshold.toPrecision(2)}`;
  $("reached").textContent = `${images} images, ${score}${tuned}`;
}
function read(event) {
  const box = event.target.getBoundingClientRect(), points = curve();
  if (!points.length) return;
  const recall = (event.clientX - box.left - EDGE) / (box.width - 2 * EDGE);
  let best = 0;
  for (let at = 0; at < points.length; at += 3) {
    if (Math.abs(points[at] - recall) < Math.abs(points[best] - recall)) best = at;
  }
  draw(best);
  const [reached, precision, chance] = points.slice(best, best + 3);
  $("reached").textContent = `taking all from ${percent(chance)} on finds ${percent(reached)} of `
    + `its images, and ${percent(precision)} of what is taken bears it`;
}

// the reliability diagram
const bins = () => ($("every").checked ? told().bins : label().bins);
function reliability() {
  bars($("reliability"), bins());
  const total = bins().reduce((sum, [images]) => sum + images, 0);
  const apart = bins().reduce((sum, [images, said, found]) => sum + images * Math.abs(said - found), 0);
  const what = $("every").checked ? "all labels" : label().name;
  $("believed").textContent =
    `share that applies over probability, ${what}: calibration error ${percent(apart / total)}`;
}
function bin(event) {
  const [images, said, found] = binAt(event, bins());
  $("believed").textContent = images
    ? `said ${images} times, with ${percent(said)} on average: applies to ${percent(found)}` : "nothing is said with such a probability";
}

// the table of labels
const HEADS = { label: "name", images: "images", precision: "precision", recall: "recall", F1: "F1",
  "average precision": "ranked", "calibration error": "error" };
const decimal = (value) => (value === null ? "-" : value.toFixed(3));
function row(one) {
  const title = one.interval ? `average precision, 95 % interval ${one.interval.map(decimal).join(" to ")}` : "";
  const words = [one.name, one.images, shareOf(one.precision), shareOf(one.recall), decimal(one.F1),
    decimal(one.ranked), percent(one.error)];
  return words.map((textContent) => element("td", { textContent, title }));
}
function choose(at) {
  chosen = at;
  for (const line of document.querySelectorAll("#classes tr[data-at]")) {
    line.setAttribute("aria-selected", +line.dataset.at === at);
  }
  draw();
  summary();
  reliability();
}

function follow() {
  const { path, label: name, words, probability, true: borne, number } = told().mistakes[state.image];
  $("mistakes").textContent = `The worst mistakes: ${path}`;
  const first = $("main").querySelector("section header div");
  first.textContent = `${name} ${percent(probability)}: ${words} · labels: ${borne.join(", ") || "none"}`;
  choose(number);
}
document.addEventListener("shown", follow);
$("theme").addEventListener("click", () => choose(chosen));
$("curve").addEventListener("pointermove", read);
$("curve").addEventListener("pointerleave", () => { draw(); summary(); });
$("reliability").addEventListener("pointermove", bin);
$("reliability").addEventListener("pointerleave", reliability);
$("every").addEventListener("change", reliability);
begun.then(() => {
  numbers(["mean average precision", "macro F1", "micro F1", "macro F1, fitted thresholds"]);
  const jump = (at) => {
    const found = told().mistakes.findIndex(({ number }) => number === at);
    if (found >= 0) show(found);
    else choose(at);
  };
  sortable("Label by label", told().labels, HEADS, row, jump);
  choose(chosen);
});
