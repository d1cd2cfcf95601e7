"""How the page of a receipt looks: by day, by night, on a narrow screen and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --desk: #ece8df; --paper: #fffdf8; --ink: #23211d; --soft: #6a6459; --line: #d8d1c2; --shade: #f6f2e8;
  --good: #256746; --bad: #a2361f; --curve: #23211d;
  --serif: Charter, "Bitstream Charter", "Iowan Old Style", "Source Serif 4", Cambria, Georgia, serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --desk: #12110f; --paper: #1d1b18; --ink: #ebe5d8; --soft: #a59d8d; --line: #3b372f; --shade: #26231f;
    --good: #86cfa6; --bad: #ee9078; --curve: #ebe5d8;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--desk); color: var(--ink); font: 1.0625rem/1.55 var(--serif); }
main {
  max-width: 50rem; margin: 2.5rem auto; padding: 2.75rem clamp(1.25rem, 6vw, 4rem) 2rem; background: var(--paper);
  border-top: .35rem solid var(--ink); box-shadow: 0 1px 2px rgb(0 0 0 / .12), 0 12px 40px rgb(0 0 0 / .08);
}
header { position: relative; }
.brand {
  display: flex; flex-wrap: wrap; gap: 0 .75em; margin: 0 0 2.25rem; color: var(--soft);
  font: .8125rem/1.5 var(--mono);
}
.brand time { margin-left: auto; }
h1 { max-width: 15em; margin: 0 0 .6rem; font-size: clamp(1.75rem, 5vw, 2.5rem); line-height: 1.12; font-weight: 600;
  letter-spacing: -.012em; text-wrap: balance; }
.answers { margin: 0 0 1.75rem; font-size: 1.1875rem; overflow-wrap: anywhere; }
.stamp {
  float: right; margin: -.35rem .25rem .75rem 1.5rem; padding: .4rem .8rem .45rem; border: 2px solid;
  border-radius: 3px; transform: rotate(4deg); font: 600 .75rem/1.3 var(--mono); letter-spacing: .12em;
  text-align: center; text-transform: uppercase;
}
.stamp span { display: block; max-width: 9em; overflow-wrap: anywhere; font-size: 1.25rem; letter-spacing: .04em;
  text-transform: none; }
.good { color: var(--good); }
.bad { color: var(--bad); }
.facts { clear: both; margin: 0; font: .875rem/1.5 var(--mono); }
.facts div { display: flex; align-items: baseline; gap: .6em; padding: .16rem 0; }
.facts div::before { content: ""; order: 1; flex: 1 1 1.5em; border-bottom: 1px dotted var(--soft); opacity: .6; }
.facts dt { color: var(--soft); white-space: nowrap; }
.facts dd { order: 2; margin: 0; text-align: right; overflow-wrap: anywhere; }
section { margin-top: 2.5rem; padding-top: 1.4rem; border-top: 1px dashed var(--line); }
h2 { margin: 0 0 .9rem; font-size: 1.25rem; line-height: 1.3; font-weight: 600; }
ul { margin: 0; padding: 0; list-style: none; }
li { position: relative; padding-inline-start: 1.6em; margin: .3rem 0; overflow-wrap: anywhere; }
li::before { position: absolute; inset-inline-start: 0; font-family: var(--mono); }
.checks li { color: inherit; }
.checks .good::before { content: "\\2713"; color: var(--good); }
.checks .bad::before { content: "\\2717"; color: var(--bad); }
.checks .bad { font-weight: 600; }
.better li::before { content: "+"; color: var(--good); }
.worse li::before { content: "\\2212"; color: var(--bad); }
.rules li::before { content: "\\2726"; color: var(--soft); }
.nothing { margin: 0; color: var(--soft); font-style: italic; }
article { margin: 0 0 1.9rem; break-inside: avoid; }
article:last-child { margin-bottom: 0; }
h3 { margin: 0; font-size: 1.0625rem; line-height: 1.4; font-weight: 600; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.tags { margin: .1rem 0 .5rem; color: var(--soft); font: .75rem/1.6 var(--mono); }
.tag + .tag::before { content: "\\00b7"; margin-inline: .6em; }
.note { margin: 0 0 .6rem; color: var(--soft); overflow-wrap: anywhere; }
.note bdi { font-style: italic; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
.said { min-width: 0; padding: .7rem .9rem .8rem; background: var(--shade); border-radius: 3px; }
.before { color: var(--soft); }
.wanted { margin-top: .6rem; padding-block: .5rem .6rem; background: none; border: 1px dashed var(--line); }
h4 { display: flex; justify-content: space-between; gap: 1em; margin: 0 0 .25rem; color: var(--soft);
  font: .75rem/1.5 var(--mono); }
.text { margin: 0; font-size: 1rem; line-height: 1.5; white-space: pre-wrap; overflow-wrap: anywhere; }
.empty { font-style: italic; }
table { width: 100%; border-collapse: collapse; }
thead th, td { padding-inline: 1.25rem 0; text-align: right; white-space: nowrap; }
thead th { padding-bottom: .35rem; color: var(--soft); font: .75rem/1.5 var(--mono); }
tbody th, td { padding-block: .55rem; border-top: 1px solid var(--line); vertical-align: baseline; }
tbody th { padding-inline: 0; text-align: left; font-weight: 600; }
tbody small { display: block; color: var(--soft); font-size: .875rem; line-height: 1.4; font-weight: 400;
  text-wrap: pretty; }
td { font: .9375rem/1.5 var(--mono); font-variant-numeric: tabular-nums; }
td:last-child { font-weight: 600; }
thead td { border: 0; }
figure { margin: 0; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--soft); font: 11px var(--mono); }
.grid { stroke: var(--line); stroke-width: 1; }
.curve { fill: none; stroke: var(--curve); stroke-width: 1.75; stroke-linejoin: round; stroke-linecap: round; }
.area { fill: var(--curve); opacity: .07; }
circle { fill: var(--curve); }
figcaption { margin-top: .5rem; color: var(--soft); font-size: .9375rem; }
code { padding: .15em .45em; background: var(--shade); border: 1px solid var(--line); border-radius: 3px;
  font: .875em var(--mono); overflow-wrap: anywhere; }
footer { margin-top: 2.5rem; padding-top: 1.2rem; border-top: 1px dashed var(--line); color: var(--soft);
  font-size: .875rem; }
footer .facts { font-size: .8125rem; }
footer p { margin: 1rem 0 0; text-align: center; }
.spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (max-width: 36rem) {
  main { margin: 0; }
  .pair { grid-template-columns: 1fr; gap: .6rem; }
  thead th, td { padding-inline: .7rem 0; }
}
@media print {
  body { background: none; font-size: 10.5pt; }
  main { max-width: none; margin: 0; padding: 0; background: none; border: 0; box-shadow: none; }
  .said, code { background: none; border: 1px solid var(--line); }
  h2, h3, h4 { break-after: avoid; }
  table, figure { break-inside: avoid; }
}
"""
