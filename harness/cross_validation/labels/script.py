"""What runs in the page of suspects: it counts the decisions, keeps them, and makes corrections.csv of them.

Rows are quoted as in RFC 4180. A cell that a spreadsheet would take for a formula gets an apostrophe in front, as in
every CSV of harness.
"""

LOST = "This browser does not keep the decisions: download them before you close the page."
SCRIPT = r"""
const data = JSON.parse(document.getElementById("data").textContent);
const reason = "suspected label, checked by hand";
const key = `harness corrections ${data.identity}`;
const articles = Array.from(document.querySelectorAll("[data-case]"));
const choicesOf = article => Array.from(article.querySelectorAll("input"));

function quote(cell) {
  const text = /^'*[=+\-@\t\r\n]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

// The label that was decided on, "" to leave the picture out, null if nothing is decided.
function decided(article) {
  const { given, suggested } = data.cases[article.dataset.case];
  const other = article.querySelector("select");
  switch (choicesOf(article).find(input => input.checked)?.value) {
    case "keep": return data.classes[given];
    case "suggested": return data.classes[suggested];
    case "out": return "";
    case "other": return other.value === "" ? null : data.classes[other.value];
    default: return null;
  }
}

function corrections() {
  const rows = articles.map(article => [data.cases[article.dataset.case].path, decided(article), reason]);
  const wanted = rows.filter(row => row[1] !== null);
  return [["path", "label", "reason"], ...wanted].map(row => `${row.map(quote).join(",")}\n`).join("");
}

function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(key));
    return found && typeof found === "object" ? found : {};
  } catch {
    return {};
  }
}

function keep() {
  const all = kept();
  for (const article of articles) {
    const { path, given } = data.cases[article.dataset.case];
    const label = decided(article);
    if (label === null) delete all[path]; else all[path] = [data.classes[given], label];
  }
  try {
    localStorage.setItem(key, JSON.stringify(all));
  } catch {
    document.getElementById("lost").hidden = false;
  }
}

function count() {
  const labels = articles.map(decided);
  articles.forEach((article, i) => article.classList.toggle("decided", labels[i] !== null));
  const number = labels.filter(label => label !== null).length;
  document.getElementById("count").textContent = `${number} of ${articles.length} decided`;
  document.getElementById("download").disabled = !number;
}

function fill(article) {
  const other = article.querySelector("select");
  if (!other || other.options.length > 1) return;
  const { given, suggested } = data.cases[article.dataset.case];
  data.classes.forEach((name, i) => { if (i !== given && i !== suggested) other.add(new Option(name, i)); });
}

function restore() {
  const all = kept();
  for (const article of articles) {
    const { path, given, suggested } = data.cases[article.dataset.case];
    if (!Object.hasOwn(all, path) || !Array.isArray(all[path])) continue;
    const [was, label] = all[path];
    const number = data.classes.indexOf(label);
    if (was !== data.classes[given] || (label !== "" && number < 0)) continue;
    const value = label === "" ? "out" : number === given ? "keep" : number === suggested ? "suggested" : "other";
    if (value === "other") {
      fill(article);
      article.querySelector("select").value = number;
    }
    choicesOf(article).find(input => input.value === value).checked = true;
  }
}

for (const article of articles) {
  // Before the list can be opened, by whatever means.
  for (const event of ["pointerenter", "focusin"]) article.addEventListener(event, () => fill(article));
  article.addEventListener("change", event => {
    if (event.target.tagName === "SELECT") choicesOf(article).find(input => input.value === "other").checked = true;
    count();
    keep();
  });
}
document.querySelector("form").addEventListener("submit", event => event.preventDefault());
document.getElementById("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([corrections()], { type: "text/csv;charset=utf-8" }));
  link.download = "corrections.csv";
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
});
restore();
count();
keep();
"""
