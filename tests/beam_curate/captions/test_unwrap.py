"""Which part of an answer is the caption, in the marks of every family of models."""

from __future__ import annotations

import itertools
import random
import string

import pytest

from beam_curate.captions.judge import fault
from beam_curate.captions.unwrap import printable, unwrap

CAPTION = "A car turns."
TAGS = [
    *(
        f"<{name}>"
        for name in ("think", "thinking", "THINK", "Thinking", "thought", "reasoning", "REASONING", "reflection")
    ),
    *("<seed:think>", "<scratchpad>", "<analysis>", "<rationale>", "[THINK]", "[think]", "◁think▷"),
]
PAIRS = [
    *((tag, tag[0] + "/" + tag[1:]) for tag in TAGS),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|thinking|>", "<|/thinking|>"),
    ("<unused94>thought\n", "<unused95>"),
    ("<think>", "</thinking>"),
    ('<think depth="3">', "</think>"),
]
OTHERS = [
    ("A car turns.", "A car turns."),
    ("  A car turns.\n", "A car turns."),
    ("", ""),
    ("<p>3 < 4 </p>", "<p>3 < 4 </p>"),
    ("Well: <answer>A car turns.</answer> Done.", CAPTION),
    ("<think>Hm.</think><answer>A car tu", "A car tu"),
    ("<think>Hm.</think><answer>A car turns.</ans", CAPTION),
    ("<think>Hm.</think><answer>A car turns.</answer><|im_e", CAPTION),
    ("<think>Hm.</think><answer></answer>", ""),
    ("<think>Hm.</think><answer> \n", ""),
    ("<think>Say <answer>no</answer>?</think><answer>A car turns.</answer>", CAPTION),
    ("<think>Say <answer>no", ""),
    ("<think>Hm. <answer>A car turns.</answer>", CAPTION),
    ("<think>I shall use <think> marks.</think>A car turns.", CAPTION),
    ("<think>a <think>b</think> c</think>A car turns.", CAPTION),
    ("<think>a</think>A car <think>b</think>turns.", CAPTION),
    ("Let me think. <think>a</think>A car turns.", CAPTION),
    ("<answer>A car turns.</answer><think>Or not?", CAPTION),
    ("<thinking>x<reflection>y</reflection>z</thinking><output>A car turns.</output>", CAPTION),
    *(
        (f"<{name}>Hm.</{name}>A car turns.", CAPTION)
        for name in (
            "thought_process",
            "cot",
            "chain_of_thought",
            "planning",
            "inner_thoughts",
            "longcat_think",
            "mm:think",
        )
    ),
    ("<think/>A car turns.", CAPTION),
    ("<think />A car turns.", CAPTION),
    ("**Thinking**\n\nHm.\n\n**Answer**\n\nA car turns.", CAPTION),
    ("Thought for 5 seconds\n\nA car turns.", CAPTION),
    ("Here is a description of the video:", ""),
    # gpt-oss
    (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>A car turns.<|return|>",
        CAPTION,
    ),
    ("<|channel|>commentary<|message|>Hm.<|end|><|channel|>final <|constrain|>text<|message|>A car turns.", CAPTION),
    ("<|channel|>final<|message|>A car turns.", CAPTION),
    ("<|channel|>analysis<|message|>Hm.", ""),
    ("<|start|>assistant<|channel|>analysis<|message|>Hm.<|end|>", ""),
    ("analysisWe need a caption.assistantfinalA car turns.", CAPTION),
    ("analysisWe need to", ""),
    ("Analysis of traffic: a car turns.", "Analysis of traffic: a car turns."),
    ("analysis of traffic: a car turns.", "analysis of traffic: a car turns."),
    ("<|channel>thought\nHm.<channel|>A car turns.<turn|>", CAPTION),
    ("Here is my thought process: Hm.\n\nHere is my response: A car turns.", CAPTION),
    ("Here's my thought process: Hm.", ""),
    # headings
    ("**Reasoning:** Hm.\n\n**Answer:** A car turns.", CAPTION),
    ("Reasoning: Hm.\nMore.\nFinal caption: A car turns.", CAPTION),
    ("Thought: Hm.\nAnswer: A car turns.", CAPTION),
    ("### Thinking process:\nHm.\n### Description:\nA car turns.", CAPTION),
    ("Reasoning: Hm.", ""),
    ("*Thinking...*\n\n> Hm.\n> A bus?\n\nA car turns.", CAPTION),
    ('<details type="reasoning" done="true"><summary>Thought</summary>Hm.</details>\nA car turns.', CAPTION),
    ("```\nA car turns.", CAPTION),
    ("A car turns.\n```", CAPTION),
    ("<answer>A car</answer><answer>B car</answer>", "A car"),
    ("The final answer is $\\boxed{A car turns.}$", CAPTION),
    ("\\[ \\boxed{A car turns.} \\]", CAPTION),
    ("assistant\nA car turns.", CAPTION),
]
WRAPPERS = [
    *('{{"captions": ["{}"]}}', '{{"caption": ["{}"]}}', '{{"result": {{"caption": "{}"}}}}', '["{}"]'),
    *('{{"scene_description": "{}"}}', '{{"detailed_caption": "{}"}}', '{{"caption_text": "{}"}}'),
    *('```json{{"caption": "{}"}}```', 'Here is the JSON:\n```json\n{{"caption": "{}"}}\n```', "~~~\n{}\n~~~"),
    *("*Caption:* {}", "_Caption:_ {}", "Caption : {}", "Caption\uff1a{}", "My caption: {}", "The caption is: {}"),
    *("The improved description is:\n\n{}", "The video caption is as follows:\n{}", "model\n{}"),
    *("\u201e{}\u201c", "\u201e{}\u201d", "\u201d{}\u201d", "\u2039{}\u203a", "»{}«", '""{}""', '"""{}"""', "'''{}'''"),
    *("Here is the caption.\n\n{}", "Sure! {}", "Based on the video, here is a detailed description:\n\n{}"),
    "Based on the provided frames, here's a detailed description of the video:\n\n{}",
    "Of course! Here is a detailed description of the video based on the provided frames.\n\n{}",
    "Okay, here's a description of the video clip, focusing on what matters:\n\n{}",
    *("<video_caption>{}</video_caption>", "<dense_caption>{}</dense_caption>", "[ANSWER]{}[/ANSWER]"),
    *("USER: Describe\nASSISTANT: {}", "**{}**", "*{}*", "\u200b{}\u200b", "\ufeff{}"),
    *("{}\n\nLet me know if you need anything else!", "{}\n\nI hope this helps!", "{}\n\n(Word count: 7)"),
    "{}\n\nWould you like me to add more detail?",
    *("<answer>{}</answer>", "<Answer>\n{}\n</Answer>", "<caption>{}</caption>", "<description>{}</description>"),
    *("<SUMMARY>{}</SUMMARY>", "<|begin_of_box|>{}<|end_of_box|>", "<|begin_of_solution|>\n{}\n<|end_of_solution|>"),
    *(
        "\\boxed{{{}}}",
        "$\\boxed{{\\text{{{}}}}}$",
        "```\n{}\n```",
        "```markdown\n{}\n```",
        '"{}"',
        "“{}”",
        "'{}'",
        "«{}»",
    ),
    *(
        "`{}`",
        "「{}」",
        "**Answer:** {}",
        "**Answer**: {}",
        "Answer: {}",
        "Final Answer: {}",
        "Caption: {}",
        "caption:\n{}",
    ),
    *("### Caption\n{}", "**Video Description:**\n\n{}", "Improved description: {}", "Assistant: {}"),
    *("Here is a description of the video:\n\n{}", "Sure! Here's a detailed caption for this video: {}"),
    *("Certainly, here is the improved description of the video:\n{}", "Below is a summary of the scene: {}"),
    *('{{"caption": "{}"}}', '{{"description": "{}", "confidence": 0.9}}', '[{{"caption": "{}"}}]'),
    *(
        '{{"reasoning": "Hm.", "answer": "{}"}}',
        '```json\n{{"caption": "{}"}}\n```',
        '<answer>{{"caption": "{}"}}</answer>',
    ),
    *(
        "{}<|im_end|>",
        "{}</s></s>\n",
        "{}<end_of_turn>\n<eos>",
        "{}<|endoftext|>",
        "{} <|eot_id|>",
        "{}<|end|>",
        "{}[EOS]",
    ),
]
KEPT = [
    'A sign says "stop", another "go"',
    '"Stop" says a sign, another "go"',
    "The driver's hand: 'go' says a sign.",
    "**Scene**\n\n- a car\n- a `bus`\n\n| a | b |\n|---|---|",
    "Description: a car.\nLighting: dusk.\nMotion: none.",
    "**Caption:** A car.\n**Light:** dusk.",
    "Here is a car that turns.",
    "This is a video of a car: it turns.",
    "Answering a call, the driver turns.",
    "```\na\n```\nand\n```\nb\n```",
    '{"cars": 3}',
    "<b>A car</b> turns.",
    "3 < 4 and 5 > 4",
    "A car turns <",
    "A sign reads [THINKER] and <thinker>.",
    "A car turns.<|im_end|>\n<|im_start|>user\nAnd now?",
    "She thinks: answer the phone.",
]


@pytest.mark.parametrize(("begin", "end"), PAIRS)
def test_reasoning_is_left_out(begin: str, end: str) -> None:
    assert unwrap(f"{begin}Hm, a bus?{end}{CAPTION}") == CAPTION
    assert unwrap(f"{begin}\nHm.\n{end}\n\n<answer>\n{CAPTION}\n</answer>") == CAPTION
    assert unwrap(f"Hm.{end}{CAPTION}") == CAPTION  # some templates begin it themselves
    assert unwrap(f"{CAPTION}{begin}Or a bus?") == CAPTION
    assert unwrap(f"{CAPTION}\n{begin}Or a bus?{end}") == CAPTION
    assert unwrap(f"{begin}A bus seems to") == ""
    assert unwrap(f"{begin}Hm.{end}") == ""


@pytest.mark.parametrize(("answer", "caption"), OTHERS)
def test_the_caption_in_an_answer(answer: str, caption: str) -> None:
    assert unwrap(answer) == caption


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_is_wrapped_around_the_whole_is_taken_off(wrapper: str) -> None:
    assert unwrap(wrapper.format(CAPTION)) == CAPTION
    assert unwrap(f"<think>Hm.</think>\n{wrapper.format(CAPTION)}") == CAPTION


@pytest.mark.parametrize("text", KEPT)
def test_what_is_within_stays(text: str) -> None:
    assert unwrap(text) == text


def test_unwrapping_twice_is_once_and_leaves_no_reasoning() -> None:
    pieces = [
        *itertools.chain.from_iterable(PAIRS),
        CAPTION,
        "Hm.",
        '"',
        "'",
        "```",
        "\n",
        "<answer>",
        "</answer>",
        "{",
        "}",
    ]
    pieces += [
        "<|im_end|>",
        "</s>",
        "Caption: ",
        "<|channel|>final<|message|>",
        "<|channel|>analysis<|message|>",
        "<",
        "</",
    ]
    draw = random.Random(0)
    for _ in range(5000):
        text = "".join(draw.choices(pieces, k=draw.randint(1, 9)))
        once = unwrap(text)
        assert unwrap(once) == once, text
        assert not any(mark.strip() in once for pair in PAIRS for mark in pair), text
    for _ in range(500):
        text = "".join(draw.choices(string.printable, k=30))
        assert unwrap(unwrap(text)) == unwrap(text), text


HOSTILE = [
    *("<think>" * 50_000, "</think>" * 50_000, "<" * 300_000, '"' * 300_000, "[" * 50_000 + "]" * 50_000),
    *("<answer>" * 20_000, "Here is " * 30_000, "```\n" * 50_000, "<|channel|>" * 30_000, "{" * 90_000 + "}" * 90_000),
    *(
        "a" + "\n" * 300_000 + "b",
        "```\n" + " " * 100_000 + "x",
        "**" + "a " * 100_000,
        "USER:" + "\n" * 300_000,
        "</s> " * 60_000,
    ),
    *("Caption: " * 30_000, '{"a":' * 5000 + "1" + "}" * 5000, "Here is a caption\n" + "\n" * 300_000),
    *("Here is my thought process: " * 9000, "<" + "think " * 50_000, "\\boxed{" * 30_000 + "}" * 30_000),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_answers_are_unwrapped_at_once(text: str) -> None:
    unwrap(text)


def test_chat_tokens_within_are_left_for_the_judge() -> None:
    assert fault(unwrap("A car turns.<|im_end|>\n<|im_start|>user\nAnd now?")) == "markup"


def test_control_characters_are_left_out() -> None:
    assert printable("A\x00 car\x07\x1b[1m\x7f turns\r\nleft\tnow\x85.") == "A car[1m turns\nleft\tnow."
