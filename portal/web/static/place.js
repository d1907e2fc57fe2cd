// Comfort only: shows the page of the first document, on which the signature is dragged, or moved with the arrow keys.
// What it does is write numbers into the form's fields; without scripts people write them.
"use strict";

(function () {
  const view = document.querySelector(".view");
  if (!view) return;
  const form = view.closest("form");
  const sheet = view.querySelector(".sheet");
  const stamp = view.querySelector(".stamp");
  const image = sheet.querySelector("img");
  const label = view.querySelector("[data-page-of]");
  const field = (name) => form.elements[name];
  const runs = JSON.parse(view.dataset.pages);
  const LEAST = { width: 20, height: 8 };
  const USUAL = { width: 70, height: 25, margin: 15 };

  const pages = runs.reduce((sum, run) => sum + run[0], 0);

  function number() {
    if (field("page").value === "first") return 1;
    if (field("page").value === "last") return pages;
    return Math.min(Math.max(1, Math.round(Number(field("page_number").value) || 1)), pages);
  }

  function size() {
    let left = number();
    for (const [count, width, height] of runs) {
      if (left <= count) return { width, height };
      left -= count;
    }
    return { width: runs[0][1], height: runs[0][2] };
  }

  function usual(corner, page) {
    const margin = Math.min(USUAL.margin, page.width / 12, page.height / 12);
    const width = Math.min(USUAL.width, page.width - 2 * margin);
    const height = Math.min(USUAL.height, page.height - 2 * margin);
    return {
      left: corner.endsWith("left") ? margin : page.width - margin - width,
      top: corner.startsWith("top") ? margin : page.height - margin - height,
      width, height,
    };
  }

  function wanted(page) {
    const place = field("place").value;
    if (place !== "custom" && place !== "none") return usual(place, page);
    const box = {};
    for (const name of ["left", "top", "width", "height"]) box[name] = Number(field(name).value) || 0;
    return box;
  }

  function within(box, page) {
    const width = Math.min(Math.max(box.width, Math.min(LEAST.width, page.width)), page.width);
    const height = Math.min(Math.max(box.height, Math.min(LEAST.height, page.height)), page.height);
    return {
      left: Math.min(Math.max(0, box.left), page.width - width),
      top: Math.min(Math.max(0, box.top), page.height - height),
      width, height,
    };
  }

  function show() {
    const page = size();
    const box = within(wanted(page), page);
    sheet.style.aspectRatio = page.width + " / " + page.height;
    stamp.style.left = (100 * box.left) / page.width + "%";
    stamp.style.top = (100 * box.top) / page.height + "%";
    stamp.style.width = (100 * box.width) / page.width + "%";
    stamp.style.height = (100 * box.height) / page.height + "%";
    stamp.classList.toggle("unseen", field("place").value === "none");
    const picture = sheet.dataset.picture.replace(/0\.png$/, number() + ".png");
    if (image.getAttribute("src") !== picture) image.src = picture;
    label.textContent = label.dataset.pageOf.replace("#", String(number()));
  }

  // Down to tenths of a millimetre, never beyond the page.
  const floor = (value) => Math.floor(value * 10) / 10;

  function put(box) {
    const page = size();
    const found = within(box, page);
    for (const name of ["left", "top", "width", "height"]) field(name).value = floor(found[name]);
    field("place").value = "custom";
    show();
  }

  function moved(change) {
    const page = size();
    const box = within(wanted(page), page);
    put({
      left: box.left + (change.left || 0), top: box.top + (change.top || 0),
      width: box.width + (change.width || 0), height: box.height + (change.height || 0),
    });
  }

  const KEYS = { ArrowLeft: ["left", "width", -1], ArrowRight: ["left", "width", 1], ArrowUp: ["top", "height", -1], ArrowDown: ["top", "height", 1] };
  stamp.addEventListener("keydown", function (event) {
    const key = KEYS[event.key];
    if (!key || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    moved({ [event.shiftKey ? key[1] : key[0]]: 2 * key[2] });
  });

  let dragged = null;
  stamp.addEventListener("pointerdown", function (event) {
    const page = size();
    dragged = { x: event.clientX, y: event.clientY, box: within(wanted(page), page) };
    stamp.setPointerCapture(event.pointerId);
  });
  stamp.addEventListener("pointermove", function (event) {
    if (!dragged) return;
    const scale = size().width / sheet.clientWidth;
    put({
      ...dragged.box,
      left: dragged.box.left + (event.clientX - dragged.x) * scale,
      top: dragged.box.top + (event.clientY - dragged.y) * scale,
    });
  });
  for (const name of ["pointerup", "pointercancel"]) stamp.addEventListener(name, function () { dragged = null; });

  for (const name of ["left", "top", "width", "height"]) {
    field(name).addEventListener("input", function () { field("place").value = "custom"; show(); });
  }
  field("page_number").addEventListener("input", function () { field("page").value = "number"; show(); });
  for (const name of ["place", "page"]) field(name).addEventListener("change", show);
  view.hidden = false;
  show();
})();
