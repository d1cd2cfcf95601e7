"""Thirty replies as models write them, by what is odd about them."""

# ruff: noqa: E501  # a paragraph of a model is one line

REPLIES = {
    "one line": "The capital of France is Paris.",
    "no line end, two paragraphs": "It depends on the size of your data.\n\nFor a few thousand rows a list will do; for more, "
    "use a dictionary, which finds a key at once however many there are.",
    "too many blank lines": "\n\nFirst.\n\n\n\nSecond.\n\n\n",
    "spans": "Use **bold words for what matters**, *italics for a term*, `code` for names and ~~nothing~~ for the rest. "
    "Then ***both at once*** and __the other bold__ and _the other italics_.",
    "what is no span": "2 * 3 * 4 is 24, a*b*c is a product, snake_case_name stays, 5 < 6 && 7 > 6, a ** b, * alone, "
    "C:\\new\\folder, \\*escaped\\*, the end_",
    "unclosed spans": "This **was never closed and goes on to the end of its paragraph.\n\nNor was `this one.\n\n"
    "And *here the next [thing](begins",
    "code": "Read the file so:\n\n```python\nfrom pathlib import Path\n\n\ndef lines(name: str) -> list[str]:\n"
    '    """All of them."""\n    return Path(name).read_text("utf-8").splitlines()  # without line ends\n```\n\n'
    "`splitlines` keeps no line ends.",
    "code without a language": "Run\n```\n$ make install\n```\nand then\n```\n$ make check\n```\n",
    "code that is not closed": "```js\nconst answer = 42;\nfunction ask() {\n  return `it is ${answer}`;",
    "code in a fence of waves, with backticks": "~~~markdown\n```python\nprint(1)\n```\n~~~\nDone.",
    "code with long lines": "```sh\ndocker run --rm -it -v /home/someone/project:/project -w /project python:3.12-slim "
    "python -m pytest -q --maxfail=1\n```",
    "code in a list": "1. Install it:\n\n   ```bash\n   pip install -q .\n   ```\n2. Start it:\n   ```bash\n   shammah\n"
    "   ```\n3. That is all.",
    "bullets": "You need:\n- a computer\n- some time, which is the harder part of it, since there is never enough\n"
    "* patience\n+ tea",
    "numbers": "1. Red: the colour of the most obvious things, such as fire engines and ripe tomatoes.\n"
    "2. Blue: that of the sky.\n3. Green: that of the grass.\n10. Grey: that of the rest.",
    "nested lists": "- Fruit\n  - Apples\n    1. Boskoop\n    2. Cox\n  - Pears\n- Vegetables\n\n  of every kind\n\n"
    "  - Leeks\n- Nuts",
    "numbers with sloppy nesting": "1. Cars\n  - Golf\n  - Polo\n2. Bicycles\n   - none\n\nThat is it.",
    "tasks": "- [ ] write the tests, all of them, before anything else is done about the matter\n- [x] write the code\n"
    "- [X] rest",
    "quotes": "> To be, or not to be, that is the question:\n> whether it is nobler\n>\n> - in the mind\n>\n>> within\n\n"
    "So he said.",
    "headings": "# Plan\n## First part #\nText right below it.\n### `code` and **bold**\n####### seven are none\n#none either",
    "underlined headings and rules": "Title\n=====\n\nPart\n----\ntext\n\n***\n\nmore\n- - -\nend",
    "a table": "Here it is:\n\n| City | People | Since |\n|:-----|-------:|:-----:|\n| Rome | 2,748,109 | -753 |\n"
    "| Oslo | 709,037 | 1040 |\n\nThat was it.",
    "a wide table": "| Command | What it does | When it is used |\n|---|---|---|\n"
    "| `git rebase -i` | rewrites the commits of a branch, one by one, in an order that you choose | before a branch is "
    "shared with **others** |\n| `git merge` | joins two branches | often |\n| only one cell |\n",
    "a table of many columns": "|a|b|c|d|e|f|g|\n|-|-|-|-|-|-|-|\n|one thing|two things|three things|four things|"
    "five things|six things|seven things|\n|1|2|3|4|5|6|7|\n",
    "a table after text, without room": "The table:\n| x | y |\n|---|---|\n| a \\| b | `c` |\nand on.",
    "rows that are no table": "| just a line\nwith text below\n\n| another |\n- item",
    "CJK": "日本語の文章には空白がないので、どこで改行してもよいわけではありません。「引用」の前後や、句読点の前では改行しません。"
    "**太字**も`コード`もあります。\n\n- 項目一：これは長い項目なので、端末の幅によっては折り返されます\n- 項目二\n\n中文**重点**内容。",
    "emoji": "Well done 🎉! Here is 👍 for you, and 🚀🚀🚀 for the rocket. Flags such as 🇩🇪 too.\n\n- ✅ done\n- ❌ not done",
    "addresses": "See https://example.com/a/very/long/path/that_goes_on/and/on/and/on?with=parameters&and=more#fragment for "
    "it, [the manual](https://docs.python.org/3/library/pathlib.html), <https://www.rfc-editor.org/rfc/rfc2119>, and "
    "(https://example.com/in_brackets).",
    "a word that is too long": "Its key is " + "0123456789abcdef" * 9 + " and no other.",
    "HTML and entities": "<div>\n  <b>as it is</b>\n</div>\n\nH<sub>2</sub>O &amp; CO&nbsp;2 &lt;tag&gt; &#27;[31m &copy; "
    "&unknown;\n\n    indented code\n\n    and more of it\n\nEnd.",
}
