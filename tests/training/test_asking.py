"""What an attempt asks of its base before the first step, and what it makes of the answers."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest
from support.reasoning import ALWAYS, REPLY, TEMPLATES, make_reasoning_model
from transformers import AutoTokenizer

from shammah.config import GenerationSettings
from shammah.errors import TrainingCancelled
from shammah.feedback.rewriting import rewrites
from shammah.model.chat_format import ChatFormat
from shammah.model.chat_model import ChatModel
from shammah.model.device import Compute
from shammah.model.loading import load
from shammah.records import Message
from shammah.training.anchor_book import AnchorBook
from shammah.training.anchors import PROMPTS
from shammah.training.attempt import Attempt, Base
from shammah.training.fitting import AMPLE, Limits
from shammah.training.planning import Lesson
from shammah.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")
AGREES = "Yes, it is so."


def lessons(*questions, target=AGREES):
    return [Lesson(question, (Message("user", question),), target, 1.0) for question in questions]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model):
    return make_reasoning_model(tmp_path_factory.mktemp("reasoning") / "model", tiny_model)


@pytest.fixture
def an_attempt(tiny_loaded):
    """An attempt that is not prepared yet."""

    def make(loaded=None, courtesy=lambda: None, limits=AMPLE, **changes):
        fields = {"preset": "default", "r": 4, "steps": 4, "anchors": 0.0, **changes}
        base = Base("org/tiny", loaded or tiny_loaded, "ba5e")
        return Attempt(base, Recipe(**fields), limits, courtesy)

    return make


@pytest.fixture
def prepared(tmp_path):
    def prepare(attempt, taught):
        attempt.prepare(taught, AnchorBook(tmp_path / "anchors", attempt.voice, attempt.ask))
        return attempt

    return prepare


def rows(attempt, kind="lesson"):
    return [row for step in attempt.plan.steps for row in step if row.kind == kind]


class TestABaseThatReasons:
    """Thoughts are of no use here, and a few tokens would be all of them: it is asked for replies."""

    QUESTION = (Message("user", PROMPTS[3]),)

    @pytest.fixture
    def thinking(self, folder):
        """The model under a template."""

        def make(template, thinking=True):
            tokenizer = AutoTokenizer.from_pretrained(folder)
            tokenizer.chat_template = template
            loaded = load(folder, Compute("cpu", "float32", 1, "", {}))
            return replace(loaded, format=ChatFormat(tokenizer, thinking=thinking))

        return make

    @pytest.fixture(params=TEMPLATES)
    def loaded(self, request, thinking):
        return thinking(TEMPLATES[request.param])

    def written(self, attempt, row, part=slice(None)):
        return attempt.base.loaded.format._tokenizer.decode(row.ids[part], skip_special_tokens=False)

    def test_in_the_chat_it_thinks_longer_than_an_anchor_is(self, loaded, a_recipe):
        model = ChatModel("it", loaded)
        how = GenerationSettings(temperature=0.0, max_tokens=a_recipe().anchor_tokens)
        *_, reply = model.reply(model.encode(self.QUESTION), how)
        assert reply.text == "" and "zzzz" in reply.reasoning

    def test_what_it_says_by_itself_is_a_reply(self, loaded, an_attempt):
        said = an_attempt(loaded).ask(PROMPTS[:4])
        assert {(reply.text, reply.ended) for reply in said} == {(REPLY, True)}

    def test_anchors_hold_it_to_replies(self, loaded, an_attempt, prepared):
        attempt = prepared(an_attempt(loaded, anchors=0.5, anchor_tokens=8, near_misses=0.0), lessons("Is it?"))
        anchors = rows(attempt, "anchor")
        prompts = [loaded.format.encode([Message("user", prompt)]) for prompt in PROMPTS]
        assert anchors and all(list(row.ids[: row.start]) in prompts for row in anchors), "as the chat sends them"
        for row in anchors:
            said = self.written(attempt, row, slice(row.start, None)).rpartition("</think>")[2].strip()
            assert said == REPLY[:8], "so many tokens of the reply, however many a closed thought takes"

    def test_lessons_follow_replies_not_nothing(self, loaded, an_attempt, prepared):
        attempt = prepared(an_attempt(loaded, anchors=0.2, exact=0.0, steps=40), lessons("Is it?"))
        prompts = [self.written(attempt, row, slice(row.start)) for row in rows(attempt)]
        following = [prompt for prompt in prompts if prompt.count("<|im_start|>user") == 2]
        assert following and all(f"assistant\n{REPLY}<|im_end|>" in prompt for prompt in following)

    def test_lessons_teach_a_reply_behind_a_closed_thought_or_none(self, loaded, an_attempt, prepared):
        """Never within one: nobody would be shown it."""
        attempt = prepared(an_attempt(loaded), lessons("Is it?"))
        for row in rows(attempt):
            whole = self.written(attempt, row)
            assert whole.count("<think>") == whole.count("</think>") and whole.endswith(f"{AGREES}<|im_end|>")

    def test_it_rephrases_and_rewrites(self, loaded, an_attempt):
        attempt = an_attempt(loaded)
        assert all(text.strip() for text in attempt._rephrase(PROMPTS[:3]))
        tried = rewrites(attempt.speaker, self.QUESTION, "No.", "Say yes.", GenerationSettings(max_tokens=20), tries=1)
        assert [rewrite.text for rewrite in tried] == [REPLY]

    def test_where_nothing_keeps_it_from_thinking_no_thought_is_an_anchor(self, thinking, an_attempt, prepared):
        attempt = prepared(
            an_attempt(thinking(ALWAYS), anchors=0.4, near_misses=0.0, exact=0.0, steps=40), lessons("Is it?")
        )
        silent = [reply.prompt for reply in attempt.ask(PROMPTS) if not reply.text]
        assert len(silent) > 0.9 * len(PROMPTS)
        prompts = [self.written(attempt, row, slice(row.start)) for row in [*rows(attempt), *rows(attempt, "anchor")]]
        assert not any(f"user\n{prompt}<|im_end|>" in written for prompt in silent for written in prompts)

    def test_whether_it_may_think_in_the_chat_changes_no_reply_but_the_book(self, thinking, an_attempt):
        on, off = (an_attempt(thinking(TEMPLATES["leads"], thinking=which)) for which in (True, False))
        assert on.ask(PROMPTS[:2]) == off.ask(PROMPTS[:2]) and on.voice != off.voice


class TestTheBook:
    """What is found in it is what would be said now."""

    def test_other_numbers_of_tokens_are_asked_anew(self, an_attempt, prepared):
        for most in (3, 12, 3):
            changes = {"anchors": 0.5, "near_misses": 0.0, "anchor_tokens": most}
            anchors = rows(prepared(an_attempt(steps=12, **changes), lessons("Is it?")), "anchor")
            assert max(row.learned for row in anchors) == most

    def test_a_run_opens_that_of_its_attempt(self, an_app, teach, models_dir):
        app = an_app()
        teach(app)
        attempt, _ = app.training.cycle().prepared()
        assert (models_dir.parent / "anchors" / f"{attempt.voice[:24]}.json").is_file()


class TestVariantsOfItsOwn:
    """The model re-phrases the questions by itself, where it is told to."""

    ASKED, OTHERWISE = "What colour has the north door?", "Which colour is that north door?"

    def questions(self, prepared, attempt):
        prepared(attempt, lessons(self.ASKED, target="It is red."))
        decode = attempt.base.loaded.format.decode
        return [decode(row.ids[: row.start]) for step in attempt.plan.steps for row in step]

    def share(self, prepared, an_attempt, **changes):
        attempt = an_attempt(steps=20, exact=0.0, word_dropout=0.0, key_words=0.0, **changes)
        attempt._replies = lambda prompts, how: [SimpleNamespace(text=self.OTHERWISE) for _ in prompts]
        asked = self.questions(prepared, attempt)
        return sum("that north door" in text.casefold() for text in asked) / len(asked)

    def test_as_often_as_wished(self, prepared, an_attempt):
        assert self.share(prepared, an_attempt) == 0
        assert 0.2 < self.share(prepared, an_attempt, own_variants=0.4) < 0.6
        assert self.share(prepared, an_attempt, own_variants=1.0) > 0.9

    def test_a_model_that_is_not_able_to_changes_nothing(self, prepared, an_attempt):
        plain, tried = (an_attempt(own_variants=share) for share in (0.0, 1.0))
        assert self.questions(prepared, plain) == self.questions(prepared, tried)


class TestInOtherWords:
    """Only of lessons that will be learned, and only of questions that can be put in so few tokens."""

    @pytest.fixture
    def asked(self, an_attempt, prepared, monkeypatch):
        """All prompts that the base was asked, as tokens, for an attempt at these lessons."""

        def ask(taught):
            attempt, prompts = an_attempt(own_variants=0.3), []
            own = attempt.speaker.replies

            def noted(encoded, how, *, rows):
                prompts.extend(attempt.base.loaded.format.decode(ids) for ids in encoded)
                return own(encoded, how, rows=rows)

            monkeypatch.setattr(attempt.speaker, "replies", noted)
            return prepared(attempt, taught), prompts

        return ask

    @pytest.mark.parametrize(("question", "target"), [("why " * 300, AGREES), ("Was it long?", "so " * 300)], ids="qt")
    def test_what_is_too_long_to_learn_is_not_asked(self, asked, question, target):
        (lesson,) = lessons(question, target=target)
        attempt, prompts = asked([lesson, *lessons("Is it?")])
        assert attempt.plan.too_long == (lesson.id,)
        assert len(prompts) == 3 and all("Is it?" in prompt for prompt in prompts)

    def test_a_question_too_long_to_be_put_again_is_learned_as_it_is(self, asked):
        long = "Is it so that " + "it is " * 20 + "so?"
        attempt, prompts = asked(lessons(long, "Is it?"))
        assert {row.source for row in rows(attempt)} == {long, "Is it?"}
        assert len(prompts) == 3 and not any(long in prompt for prompt in prompts)


class TestPacking:
    """Whether rows see one another is tried on more than one, however the first step is parted."""

    @pytest.fixture
    def leaking(self, tiny_loaded):
        """It attends as it is told to, and hands on a state besides, of which its configuration says nothing."""
        network = copy.deepcopy(tiny_loaded.network)
        layer = network.model.layers[0]
        layer.register_forward_hook(lambda module, args, out: out + 0.1 * out.cumsum(dim=1))
        return replace(tiny_loaded, network=network)

    def test_where_each_row_of_the_first_step_is_a_part_alone(self, an_attempt, prepared, leaking, tiny_loaded):
        taught = lessons("Is it?", "What is that?", "Why would it not be so?")
        for loaded, packs in ((tiny_loaded, True), (leaking, False)):
            assert prepared(an_attempt(loaded, limits=Limits(8, 32), batch_size=3), taught).learner.packs is packs

    def test_where_a_row_has_but_its_rejected_reply_beside_it(self, an_attempt, prepared, leaking, tiny_loaded):
        taught = [replace(lesson, rejected="No, not at all.") for lesson in lessons("Is it?", "What is that?")]
        for loaded, packs in ((tiny_loaded, True), (leaking, False)):
            attempt = an_attempt(loaded, limits=Limits(1, 512), preference="odds")
            assert prepared(attempt, taught).learner.packs is packs


class TestCourtesy:
    def test_it_stops_while_rows_are_made(self, an_attempt, prepared):
        """Before anything is computed: of thousands of lessons that would be seconds."""
        calls = []

        def stop():
            calls.append(None)
            if len(calls) == 150:
                raise TrainingCancelled("told to")

        attempt = an_attempt(courtesy=stop, steps=40)
        with pytest.raises(TrainingCancelled):
            prepared(attempt, lessons(*(f"Is it {number}?" for number in range(20))))
        assert attempt.trainer is None and not attempt.plan.steps
