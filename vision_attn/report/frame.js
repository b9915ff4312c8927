"use strict";
// what every page shares: its packed content, the strip of images, opacity and theme
const $ = (id) => document.getElementById(id);
const element = (kind, settings = {}) => Object.assign(document.createElement(kind), settings);
const urls = {};
let content, bytes;

// reading
async function unpack() {
  const packed = Uint8Array.from(atob($("data").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = await new Response(stream).arrayBuffer();
  const length = new DataView(raw).getUint32(0, true);
  content = JSON.parse(new TextDecoder().decode(new Uint8Array(raw, 4, length)));
  bytes = { raw, start: 4 + length };
}
const view = (kind, [offset, length]) =>
  new kind(bytes.raw, bytes.start + offset, length / kind.BYTES_PER_ELEMENT);
const picture = (image) =>
  (urls[image.name] ??= URL.createObjectURL(
    new Blob([view(Uint8Array, image.picture)], { type: image.picture[2] })));

function sample(values, first, [rows, columns], x, y) {  // bilinear, as the maps were upsampled
  const down = Math.min(Math.max(y * rows - 0.5, 0), rows - 1);
  const across = Math.min(Math.max(x * columns - 0.5, 0), columns - 1);
  const row = Math.min(Math.floor(down), Math.max(rows - 2, 0));
  const column = Math.min(Math.floor(across), Math.max(columns - 2, 0));
  const below = rows > 1 ? columns : 0, beside = columns > 1 ? 1 : 0;
  const v = down - row, u = across - column, at = first + row * columns + column;
  return (1 - v) * ((1 - u) * values[at] + u * values[at + beside])
    + v * ((1 - u) * values[at + below] + u * values[at + below + beside]);
}

// the frame: a page has its `state` and its `show(index)`, and says how it is drawn anew
async function start(redraw) {
  await unpack();
  for (const [index, image] of content.images.entries()) {
    const button = element("button", { title: image.name });
    button.append(element("img", { src: picture(image), alt: image.name }));
    button.addEventListener("click", () => show(index));
    $("strip").append(button);
  }
  $("back").addEventListener("click", () => show(state.image - 1));
  $("next").addEventListener("click", () => show(state.image + 1));
  $("opacity").addEventListener("input", (event) => { state.opacity = event.target.value / 100; redraw(); });
  const { dataset } = document.documentElement;
  $("theme").addEventListener("click", () => {
    dataset.theme = dataset.theme === "dark" ? "light" : "dark";
  });
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && event.target.type !== "range") { event.preventDefault(); show(state.image + step); }
  });
  await show(0);
}
function begin(redraw) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  return start(redraw).catch((error) => {
    $("main").textContent = `This page needs a browser of 2023 or later (${error.message}).`;
  });
}
