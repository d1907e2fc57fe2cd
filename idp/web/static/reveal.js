// Shows and hides what is typed into a password field. Without scripts there is no button, and the field works as ever.
document.querySelectorAll("button[data-reveal]").forEach((button) => {
  const field = document.getElementById(button.dataset.reveal);
  const [show, hide] = [button.textContent, button.dataset.hide];
  button.hidden = false;
  button.addEventListener("click", () => {
    const shown = field.type === "text";
    field.type = shown ? "password" : "text";
    button.textContent = shown ? show : hide;
    field.focus();
  });
  // Browsers offer to keep what is sent from a field of type password.
  field.form.addEventListener("submit", () => { field.type = "password"; });
});
