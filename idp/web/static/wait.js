// Counts a cool-down of the re-send button down, in place of the sentence about it.
// Without scripts the button works too: the server keeps the limit.
document.querySelectorAll("button[data-wait]").forEach((button) => {
  let left = Number(button.dataset.wait);
  const label = button.textContent;
  const tick = () => {
    button.disabled = left > 0;
    const clock = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    button.textContent = left > 0 ? `${label} (${clock})` : label;
    document.querySelectorAll("[data-until-wait-is-over]").forEach((hint) => { hint.hidden = true; });
    if (left > 0) {
      left -= 1;
      setTimeout(tick, 1000);
    }
  };
  tick();
});
