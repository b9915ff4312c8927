// what an evaluation adds to a page of maps: numbers, confusions, calibration, classes
// the confusion matrix: a cell is at least a pixel
const cells = () => view(Uint32Array, told().confusion);
const cell = () => Math.max(1, Math.floor(320 / told().names.length));
function confusion(marked) {
  const count = told().names.length, size = cell(), counts = cells(), canvas = $("confusion");
  canvas.width = canvas.height = count * size;
  const pen = pen2d(canvas);
  for (let row = 0; row < count; row++) {
    const sum = told().classes[row].images || 1;
    for (let column = 0; column < count; column++) {
      const share = counts[row * count + column] / sum;
      if (!share) continue;
      pen.fillStyle = row === column ? "#0072B2" : "#D55E00";
      pen.globalAlpha = 0.12 + 0.88 * Math.sqrt(share);
      pen.fillRect(column * size, row * size, size, size);
    }
  }
  pen.globalAlpha = 1;
  if (!marked) return;
  pen.strokeStyle = ink("--ink");
  pen.lineWidth = 2;
  pen.strokeRect(marked[1] * size, marked[0] * size, size, size);
}
function pair(event) {
  const box = event.target.getBoundingClientRect(), count = told().names.length;
  const place = (from, start, span) =>
    Math.min(Math.max(Math.floor(((from - start) / span) * count), 0), count - 1);
  return [place(event.clientY, box.top, box.height), place(event.clientX, box.left, box.width)];
}
function tell([row, column]) {
  const { names, classes } = told(), count = cells()[row * names.length + column];
  const share = classes[row].images ? ` (${percent(count / classes[row].images)})` : "";
  const what = row === column ? "recognised" : `taken for ${names[column]}`;
  $("confused").textContent =
    `${names[row]} ${what}: ${count} of ${classes[row].images}${share}`;
}
const first = ([row, column]) => told().mistakes.findIndex(
  ({ pair: [label, answer] }) => label === row && answer === column);
function jump(chosen) {
  const place = first(chosen);
  if (place >= 0) show(place);
  else $("confused").textContent += "; none of the images below";
}

// the reliability diagram
const calibrated = () => told().calibrations[$("cooled").checked ? told().calibrations.length - 1 : 0];
function reliability() {
  const one = calibrated();
  bars($("reliability"), one.bins);
  const cooled = one.temperature === 1 ? "as trained" : `temperature ${one.temperature.toFixed(2)}`;
  $("believed").textContent = `accuracy over confidence, ${cooled}: calibration error ${percent(one.error)}`;
}
function bin(event) {
  const [images, confidence, accuracy] = binAt(event, calibrated().bins);
  $("believed").textContent = images
    ? `${images} images, ${percent(confidence)} sure and ${percent(accuracy)} right` : "no images";
}

// the table of classes
const HEADS = { class: "name", images: "images", recognised: "recognised", precision: "precision", F1: "F1" };
function row(one) {
  const title = one.interval ? `95 % interval ${one.interval.map(percent).join(" to ")}` : "";
  const words = [one.name, one.images, shareOf(one.recognised), shareOf(one.precision), one.F1.toFixed(3)];
  return words.map((textContent) => element("td", { textContent, title }));
}

function follow() {
  const { path, pair } = told().mistakes[state.image];
  confusion(pair);
  tell(pair);
  $("mistakes").textContent = `The worst mistakes: ${path}`;
}
document.addEventListener("shown", follow);
$("theme").addEventListener("click", () => { follow(); reliability(); });
$("confusion").addEventListener("pointermove", (event) => tell(pair(event)));
$("confusion").addEventListener("pointerleave", follow);
$("confusion").addEventListener("click", (event) => { tell(pair(event)); jump(pair(event)); });
$("reliability").addEventListener("pointermove", bin);
$("reliability").addEventListener("pointerleave", reliability);
$("cooled").addEventListener("change", reliability);
begun.then(() => {
  numbers(["macro F1"]);
  reliability();
  sortable("Class by class", told().classes, HEADS, row);
  $("cool").hidden = told().calibrations.length < 2;
});
