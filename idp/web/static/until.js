// Says in the time of the place until when a page can be finished, and counts the minutes down.
// Without scripts the sentence with the time stands as the server wrote it.
document.querySelectorAll("[data-until]").forEach((line) => {
  const end = Date.parse(line.dataset.until);
  const text = line.querySelector("span");
  const left = document.createElement("span");
  left.className = "left";
  left.setAttribute("role", "status");
  text.after(left);
  const clock = new Date(end).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  text.textContent = line.dataset.here.replace("%", clock);
  const tick = () => {
    const minutes = Math.floor((end - Date.now()) / 60000);
    let words = line.dataset.left.replace("%", String(minutes));
    if (minutes < 1) words = end > Date.now() ? line.dataset.last : "";
    if (end <= Date.now()) {
      text.textContent = line.dataset.over;
      line.classList.add("over");
    }
    // Said aloud only when little is left: a voice every minute would be in the way.
    left.setAttribute("aria-live", minutes < 2 ? "polite" : "off");
    if (left.textContent !== words) left.textContent = words;
    if (end > Date.now()) setTimeout(tick, 5000);
  };
  tick();
});
