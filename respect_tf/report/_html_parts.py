"""What every report page holds: its style sheet, and the script that finds ops and zooms."""

STYLE = """
.respect-tf{--ink:#1b1b1b;--soft:#595959;--line:#8a8a8a;--rule:#d5d5d5;--page:#fff;--mark:#0001;--warn:#fff1e6;
font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:1320px;
margin:0 auto;padding:16px;box-sizing:border-box}
.respect-tf h1{font-size:22px;margin:0 0 12px;overflow-wrap:anywhere}
.respect-tf h2{font-size:17px;margin:28px 0 8px}
.respect-tf p{margin:4px 0}
.respect-tf .tiles{display:flex;flex-wrap:wrap;gap:10px;margin:0 0 16px}
.respect-tf .tile{flex:1 1 150px;border:1px solid var(--rule);border-radius:8px;padding:8px 12px}
.respect-tf .tile b{display:block;font-size:20px}
.respect-tf .tile span,.respect-tf .source{color:var(--soft);font-size:13px}
.respect-tf dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 16px;margin:0}
.respect-tf dt{color:var(--soft)}
.respect-tf dd{margin:0;overflow-wrap:anywhere}
.respect-tf .warning{border-left:4px solid #D55E00;padding-left:8px}
.respect-tf .tile.warning{flex-basis:100%;border-left:6px solid #D55E00;background:var(--warn)}
.respect-tf .tile.warning b{font-size:15px}
.respect-tf .tools{display:flex;flex-wrap:wrap;gap:8px;align-items:center;margin:4px 0;
font-size:14px}
.respect-tf .tools button,.respect-tf .tools input{font:inherit;color:inherit;padding:4px 10px;
background:var(--page);border:1px solid var(--line);border-radius:6px}
.respect-tf .tools output{color:var(--soft)}
.respect-tf .searched circle,.respect-tf .searched rect.cpu{opacity:.2}
.respect-tf .searched .found{opacity:1;stroke:var(--ink);stroke-width:2.5}
.respect-tf .scroll{overflow-x:auto;max-width:100%}
.respect-tf table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px;
color:inherit;background:none}
.respect-tf th,.respect-tf td{padding:3px 12px 3px 0;text-align:right;white-space:nowrap;
border-bottom:1px solid var(--rule);background:none}
.respect-tf th:first-child,.respect-tf td:first-child{text-align:left}
.respect-tf svg{display:block}
.respect-tf .row{font-size:13px;margin:8px 0 2px}
.respect-tf .legend{font-size:13px;display:flex;flex-wrap:wrap;gap:2px 16px}
.respect-tf .key i{display:inline-block;width:14px;height:12px;margin-right:5px;
vertical-align:-1px}
.respect-tf i.room{width:0;border-left:2px dashed var(--ink)}
.respect-tf i.crossing{height:0;border-top:2px solid var(--ink);vertical-align:4px}
.respect-tf line.room{stroke:var(--ink);stroke-width:2;stroke-dasharray:4 2}
.respect-tf .strip{padding:0 0 2px}
.respect-tf .marked{background:var(--mark)}
.respect-tf .bar{stroke:var(--page);stroke-width:1}
.respect-tf .followed{stroke:var(--ink);stroke-width:2.5}
.respect-tf .number{font-size:11px;text-anchor:middle;pointer-events:none}
.respect-tf .tick{font-size:11px;fill:var(--soft)}
.respect-tf .inner{fill:none;stroke:var(--line);stroke-width:1}
.respect-tf path.beside{fill:none;stroke:var(--page);stroke-width:6}
.respect-tf path.crossing{fill:none;stroke:var(--ink);stroke-width:2}
.respect-tf .border{fill:var(--ink)}
.respect-tf .cpu{stroke:var(--ink);stroke-width:1.5}
.respect-tf .band{font-size:12px;fill:var(--ink)}
@media (prefers-color-scheme:dark){html.respect-tf-page{background:#181818}
.respect-tf-page .respect-tf{--ink:#ececec;--soft:#ababab;--line:#8f8f8f;--rule:#444;
--page:#181818;--mark:#fff2;--warn:#3a2416}}
"""

TOOLS = """<div class="tools" role="group" aria-label="tools for the op graph" hidden>
<label>find <input type="search" size="24" placeholder="op, layer or type"></label>
<button type="button" value="0.8">smaller</button>
<button type="button" value="1.25">larger</button>
<button type="button" value="0">whole width</button>
<output aria-live="polite"></output></div>"""
"""They stay hidden where no script may run."""

SCRIPT = """<script>
(() => {
  const tools = document.querySelector(".respect-tf .tools");
  const frame = tools.nextElementSibling.querySelector("svg").parentElement;
  const svg = frame.querySelector("svg"), said = tools.querySelector("output");
  const width = svg.width.baseVal.value, height = svg.height.baseVal.value;
  const ops = [...svg.querySelectorAll("circle, rect")].filter(op => op.querySelector("title"));
  let scale = 1;
  const zoom = to => {
    scale = Math.min(Math.max(to, 0.05), 8);
    svg.setAttribute("width", width * scale);
    svg.setAttribute("height", height * scale);
  };
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  tools.hidden = false;
  for (const button of tools.querySelectorAll("button"))
    button.onclick = () =>
      zoom(Number(button.value) ? scale * Number(button.value) : frame.clientWidth / width);
  tools.querySelector("input").oninput = event => {
    const wanted = event.target.value.trim().toLowerCase();
    const found = ops.filter(op => {
      const hit = wanted !== "" && op.textContent.toLowerCase().includes(wanted);
      op.classList.toggle("found", hit);
      return hit;
    });
    svg.classList.toggle("searched", wanted !== "");
    said.textContent = wanted === "" ? "" : `${found.length} of ${ops.length} ops`;
    if (found.length) {
      const at = found[0].getBoundingClientRect(), seen = frame.getBoundingClientRect();
      frame.scrollLeft += at.left - seen.left - frame.clientWidth / 2;
    }
  };
})();
</script>"""
"""It reads names from the picture, where they are text, and none is written into it."""
