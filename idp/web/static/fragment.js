// Sends the part of the address that no server sees, and takes it out of the address and the history.
// Without scripts the form is not sent, and the page says what is needed.
(() => {
  const form = document.querySelector("form[data-fragment]");
  const secret = window.location.hash.slice(1);
  if (!form) {
    return;
  }
  document.querySelectorAll("[data-without-scripts]").forEach((hint) => { hint.hidden = true; });
  window.history.replaceState(null, "", window.location.pathname);
  if (!/^[A-Za-z0-9_-]{16,128}$/.test(secret)) {
    document.querySelectorAll("[data-without-fragment]").forEach((hint) => { hint.hidden = false; });
    document.querySelectorAll("[data-waiting]").forEach((hint) => { hint.hidden = true; });
    return;
  }
  form.elements[form.dataset.fragment].value = secret;
  form.submit();
})();
