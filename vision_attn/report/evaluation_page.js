// what an evaluation adds to a page of maps: numbers, confusions, calibration, classes
const told = () => content.evaluation;
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

function numbers() {
  for (const [name, value, low, high] of told().numbers) {
    const line = element("div"), share = name !== "macro F1";
    const write = (number) => (share ? (100 * number).toFixed(1) : number.toFixed(3));
    line.append(bold(`${write(value)}${share ? " %" : ""}`), `${name} (${write(low)}-${write(high)})`);
    $("numbers").append(line);
  }
  $("numbers").append(plain(`${told().images.toLocaleString("en")} ${told().split} images`));
}

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
function reliability() {
  const found = told().calibrations, one = found[$("cooled").checked ? found.length - 1 : 0];
  const canvas = $("reliability"), pen = pen2d(canvas), side = canvas.width, wide = side / one.bins.length;
  pen.clearRect(0, 0, side, side);
  one.bins.forEach(([images, confidence, accuracy], at) => {
    if (!images) return;
    const both = Math.min(confidence, accuracy), most = Math.max(confidence, accuracy);
    pen.fillStyle = confidence > accuracy ? "#E69F00" : "#56B4E9";
    pen.fillRect(at * wide + 1, side * (1 - most), wide - 2, side * most);
    pen.fillStyle = "#0072B2";
    pen.fillRect(at * wide + 1, side * (1 - both), wide - 2, side * both);
  });
  pen.strokeStyle = ink("--faint");
  pen.setLineDash([2, 4]);
  pen.beginPath();
  pen.moveTo(0, side);
  pen.lineTo(side, 0);
  pen.stroke();
  pen.setLineDash([]);
  const cooled = one.temperature === 1 ? "as trained" : `temperature ${one.temperature.toFixed(2)}`;
  $("believed").textContent = `accuracy over confidence, ${cooled}: calibration error ${percent(one.error)}`;
}
function bin(event) {
  const box = event.target.getBoundingClientRect();
  const found = told().calibrations, one = found[$("cooled").checked ? found.length - 1 : 0];
  const at = Math.floor(((event.clientX - box.left) / box.width) * one.bins.length);
  const [images, confidence, accuracy] = one.bins[Math.min(Math.max(at, 0), one.bins.length - 1)];
  $("believed").textContent = images
    ? `${images} images, ${percent(confidence)} sure and ${percent(accuracy)} right` : "no images";
}

// the table of classes, sorted by one of its columns
const HEADS = ["name", "images", "recognised", "precision", "F1"];
function classes(head, upwards) {
  const rows = [...told().classes], table = element("table"), top = element("tr");
  const sign = upwards ? 1 : -1;
  if (head) rows.sort((a, b) => sign * (a[head] < b[head] ? -1 : a[head] > b[head] ? 1 : 0));
  for (const name of HEADS) {
    const cell = element("th", { textContent: name === "name" ? "class" : name });
    cell.addEventListener("click", () => classes(name, name === head ? !upwards : true));
    top.append(cell);
  }
  table.append(top);
  for (const one of rows) {
    const line = element("tr");
    const share = (value) => (value === null ? "-" : percent(value));
    const title = one.interval ? `95 % interval ${one.interval.map(percent).join(" to ")}` : "";
    const words = [one.name, one.images, share(one.recognised), share(one.precision), one.F1.toFixed(3)];
    for (const text of words) line.append(element("td", { textContent: text, title }));
    table.append(line);
  }
  $("classes").replaceChildren(element("h2", { textContent: "Class by class" }), table);
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
  numbers();
  reliability();
  classes();
  $("cool").hidden = told().calibrations.length < 2;
});
