// Comfort only: names the chosen file, highlights the zone, warns early of a file that the server would refuse.
"use strict";

document.documentElement.classList.remove("no-script");

(function () {
  const zone = document.querySelector(".drop");
  const input = zone && zone.querySelector("input[type=file]");
  if (!input) return;
  const title = zone.querySelector(".drop-title");
  const hint = zone.querySelector(".drop-hint");
  const before = { title: title.textContent, hint: hint.textContent };
  const limit = Number(input.dataset.maxBytes);

  function size(bytes) {
    return bytes < 1048576 ? Math.max(1, Math.round(bytes / 1024)) + " KB" : (bytes / 1048576).toFixed(1) + " MB";
  }

  input.addEventListener("change", function () {
    const file = input.files[0];
    input.setCustomValidity("");
    zone.classList.toggle("chosen", Boolean(file));
    if (!file) {
      title.textContent = before.title;
      hint.textContent = before.hint;
      return;
    }
    title.textContent = file.name;
    hint.textContent = size(file.size);
    if (file.size > limit) {
      input.setCustomValidity("This file is larger than " + size(limit) + ".");
      hint.textContent = size(file.size) + ", which is more than " + size(limit);
    }
  });
  zone.addEventListener("dragover", function () { zone.classList.add("over"); });
  for (const name of ["dragleave", "drop", "dragend"]) {
    zone.addEventListener(name, function () { zone.classList.remove("over"); });
  }
})();
