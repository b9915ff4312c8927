const MARKS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"];
const SIDE = 288;  // drawn pixels of a picture's longer side
const state = { image: 0, opacity: 0.65, rim: true, at: [0.5, 0.5], held: false, layer: {}, head: {} };
let cards = [], grounds = {};

async function ground(image, width, height) {
  if (!grounds[image.name]) {
    const drawn = element("canvas", { width, height });
    const pen = pen2d(drawn);
    const source = element("img", { src: picture(image) });
    await source.decode();
    pen.imageSmoothingQuality = "high";
    pen.drawImage(source, 0, 0, width, height);
    grounds = { [image.name]: pen.getImageData(0, 0, width, height) };
  }
  return grounds[image.name];
}

// drawing
function paint(canvas, image, base, share, colours) {
  const { width, height } = canvas, pen = pen2d(canvas);
  const out = pen.createImageData(width, height), from = base.data, to = out.data;
  const opacity = share ? state.opacity : 0, greyness = Math.min(1, opacity / 0.3);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      const grey = 0.299 * from[at] + 0.587 * from[at + 1] + 0.114 * from[at + 2];
      const level = share ? share((x + 0.5) / width, (y + 0.5) / height) : 0;
      const place = 3 * Math.round(255 * Math.min(Math.max(level, 0), 1));
      for (let c = 0; c < 3; c++) {
        const under = from[at + c] + greyness * (grey - from[at + c]);
        to[at + c] = (1 - opacity) * under + (share ? opacity * colours[place + c] : 0);
      }
      to[at + 3] = 255;
    }
  }
  pen.putImageData(out, 0, 0);
  if (state.rim) outline(pen, image, width, height);
}

function outline(pen, image, width, height) {
  pen.beginPath();
  for (const rim of image.rims) {
    for (let i = 0; i < rim.length; i += 2) {
      pen[i ? "lineTo" : "moveTo"](rim[i] * width, rim[i + 1] * height);
    }
  }
  stroke(pen, 1.5);
}
function stroke(pen, width) {
  pen.lineWidth = width + 2; pen.strokeStyle = "rgba(0, 0, 0, 0.55)"; pen.stroke();
  pen.lineWidth = width; pen.strokeStyle = "#fff"; pen.stroke();
}
function cross(canvas) {
  const pen = pen2d(canvas), x = state.at[0] * canvas.width, y = state.at[1] * canvas.height;
  pen.beginPath();
  for (const [i, j] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    pen.moveTo(x + 4 * i, y + 4 * j);
    pen.lineTo(x + 11 * i, y + 11 * j);
  }
  stroke(pen, 1.5);
}

// cards: each has a canvas, a way to draw it and a line about the place pointed at
function number(value) {
  const size = Math.abs(value);
  return size && (size < 1e-3 || size >= 1e4) ? value.toExponential(2) : `${+value.toPrecision(3)}`;
}
function card(parent, base, caption, draw, tell) {
  const figure = element("figure"), text = element("figcaption"), line = element("div");
  const canvas = element("canvas", { width: base.width, height: base.height });
  text.append(...caption);
  text.append(line);
  figure.append(canvas, text);
  parent.append(figure);
  let still = null;
  const made = {
    canvas,
    refresh(again) {
      if (again || !still) {
        draw(canvas);
        still = pen2d(canvas).getImageData(0, 0, canvas.width, canvas.height);
      } else pen2d(canvas).putImageData(still, 0, 0);
      cross(canvas);
      line.textContent = tell();
    },
  };
  canvas.addEventListener("pointermove", (event) => { if (!state.held) point(event); });
  canvas.addEventListener("click", (event) => { state.held = !state.held; point(event); });
  cards.push(made);
  return made;
}
function point(event) {
  const box = event.target.getBoundingClientRect();
  const inside = (value) => Math.min(Math.max(value, 0), 0.9999);
  state.at = [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
  for (const each of cards) each.refresh(each.moves);
}
const pen2d = (canvas) => canvas.getContext("2d", { willReadFrequently: true });
const bold = (words) => element("b", { textContent: words });
const plain = (words, kind = "") => element("div", { textContent: words, className: kind });

const setting = ([name, value]) =>
  `${name} = ${value instanceof Object ? JSON.stringify(value).replaceAll('"', "") : value}`;
function mapCard(parent, image, base, map) {
  const values = view(Uint16Array, map.values), span = map.high - map.low;
  const colours = view(Uint8Array, content.colours[map.signed ? "RdBu_r" : "inferno"]);
  const value = (x, y) => map.low + (sample(values, 0, map.shape, x, y) / content.steps) * span;
  const half = Math.max(Math.abs(map.low), Math.abs(map.high));
  const [first, last] = map.signed ? [-half, half] : [map.low, map.high];
  const share = (x, y) => (last > first ? (value(x, y) - first) / (last - first) : map.signed / 2);
  const bar = plain("", "scale"), ends = plain("", "ends");
  const stops = Array.from({ length: 18 }, (_, i) => `rgb(${colours.slice(45 * i, 45 * i + 3)})`);
  bar.style.background = `linear-gradient(90deg, ${stops})`;
  for (const end of [first, last]) ends.append(element("span", { textContent: number(end) }));
  const written = Object.entries(map.scores).map(([name, score]) => `${name} ${score.toFixed(3)}`);
  const settings = Object.entries(map.settings).map(setting).join("\n");
  const head = bold(map.method);
  head.title = settings || "no settings";
  const caption = [head, ` for ${map.target}${map.flat ? " · says nothing" : ""}`, bar, ends];
  if (written.length) caption.push(plain(written.join(" · ")));
  const draw = (canvas) => paint(canvas, image, base, share, colours);
  card(parent, base, caption, draw, () => `here ${number(value(...state.at))}`);
}

function looksCard(parent, image, base, model) {
  const { grid, layers, heads } = model.looks, [rows, columns] = grid, groups = rows * columns;
  const levels = view(Uint8Array, model.looks.levels), scales = view(Float32Array, model.looks.scales);
  const rollout = view(Uint8Array, model.looks.rollout_levels);
  const rolloutScales = view(Float32Array, model.looks.rollout_scales);
  const colours = view(Uint8Array, content.colours.inferno);
  const layer = () => state.layer[model.name] ?? layers - 1, head = () => state.head[model.name] ?? 0;
  const query = () => Math.floor(state.at[1] * rows) * columns + Math.floor(state.at[0] * columns);
  const share = (coded, scale, at) => Array.from({ length: groups },
    (_, key) => scale[at] * (coded[at * groups + key] / content.levels) ** 2);
  const looked = () => {
    if (layer() === layers) return share(rollout, rolloutScales, query());
    const each = (one) => share(levels, scales, (layer() * heads + one) * groups + query());
    if (head()) return each(head() - 1);
    const all = Array.from({ length: heads }, (_, one) => each(one));
    return all[0].map((_, key) => all.reduce((sum, one) => sum + one[key], 0) / heads);
  };
  let seen = looked();
  const draw = (canvas) => {
    seen = looked();
    const most = Math.max(...seen) || 1;
    paint(canvas, image, base, (x, y) => sample(seen, 0, grid, x, y) / most, colours);
    const pen = pen2d(canvas), at = query();
    pen.beginPath();
    const [wide, high] = [canvas.width / columns, canvas.height / rows];
    pen.rect((at % columns) * wide, Math.floor(at / columns) * high, wide, high);
    stroke(pen, 2);
  };
  const choose = (chosen) => (at) => { chosen[model.name] = at; made.refresh(true); };
  const tell = () => {
    const high = Math.max(...seen), best = seen.indexOf(high), sum = seen.reduce((a, b) => a + b, 0);
    const place = `row ${Math.floor(best / columns) + 1}, column ${best % columns + 1}`;
    return `${place} gets ${(100 * high).toFixed(1)} % of ${(100 * sum).toFixed(0)} %`;
  };
  const kind = `${model.looks.patches}` === `${grid}` ? "patches" : "patch groups";
  const made = card(parent, base, [bold("looks"), ` of one of ${rows} × ${columns} ${kind}`,
    slider("layer", layers, layer(), (at) => (at < layers ? at + 1 : "all, by rollout"), choose(state.layer)),
    slider("head", heads, head(), (at) => at || "mean", choose(state.head)),
    gathering(model.looks)], draw, tell);
  made.moves = true;
}
function gathering({ patches, sinks }) {
  const count = patches[0] * patches[1], warns = sinks > Math.max((10 * content.sinks) / count, 0.25);
  const words = `${content.sinks} of ${count} patches get ${(100 * sinks).toFixed(0)} % of all`;
  return Object.assign(plain(words, warns ? "wrong" : ""), {
    title: "Looks of all patches in the last layer, mean over heads. Where few patches get most of "
      + "them, maps show these attention sinks rather than the object.",
  });
}
function slider(name, most, now, words, change) {
  const label = element("label"), text = element("span");
  const input = element("input", { type: "range", min: 0, max: most, value: now, name });
  const say = () => { text.textContent = `${name} ${words(+input.value)}`; };
  input.addEventListener("input", () => { say(); change(+input.value); });
  say();
  label.append(text, input);
  return label;
}

// the page
async function show(place) {
  state.image = (place + content.images.length) % content.images.length;
  const image = content.images[state.image], [height, width] = image.size;
  const scale = SIDE / Math.max(height, width);
  const base = await ground(image, Math.round(width * scale), Math.round(height * scale));
  if (content.images[state.image] !== image) return;  // another key was pressed meanwhile
  cards = [];
  const main = $("main");
  main.replaceChildren();
  main.style.setProperty("--side", `${Math.round(224 * Math.min(1, width / height))}px`);
  main.style.setProperty("--models", image.models.length);
  main.classList.toggle("two", image.models.length === 2);
  const first = section(main, "image", "", "");
  const words = [bold(image.label ?? image.name), image.label === null ? "" : ` · ${image.name}`];
  card(first, base, words, (canvas) => paint(canvas, image, base, null), () => "");
  image.models.forEach((model, index) => {
    const [name, probability] = model.answer ?? ["", 0];
    const known = model.answer && image.label !== null, right = name === image.label;
    const kind = known ? (right ? "right" : "wrong") : "";
    const sign = { right: "✓ ", wrong: "✗ " }[kind] ?? "";
    const answer = model.answer ? `${sign}${name} ${(100 * probability).toFixed(1)} %` : "";
    const home = section(main, model.name, answer, kind, MARKS[index % MARKS.length]);
    for (const map of model.maps) mapCard(home, image, base, map);
    if (model.looks) looksCard(home, image, base, model);
  });
  for (const each of cards) each.refresh(true);
  const more = content.total > content.images.length ? `, the first of ${content.total}` : "";
  $("place").textContent = `${state.image + 1} / ${content.images.length}${more}`;
  [...$("strip").children].forEach((button, at) => button.setAttribute("aria-current", at === state.image));
  $("strip").children[state.image].scrollIntoView({ block: "nearest", inline: "nearest" });
  document.dispatchEvent(new Event("shown"));
}
function section(main, name, answer, kind, mark) {
  const made = element("section"), head = element("header"), home = element("div");
  if (mark) made.style.setProperty("--mark", mark);
  head.append(element("h2", { textContent: name }), plain(answer, kind));
  made.append(head, home);
  main.append(made);
  return home;
}

const redraw = () => { for (const each of cards) each.refresh(true); };
$("rim").addEventListener("change", (event) => { state.rim = event.target.checked; redraw(); });
const begun = begin(redraw).then(() => { $("rimmed").hidden = content.images.every((image) => !image.rims.length); });
