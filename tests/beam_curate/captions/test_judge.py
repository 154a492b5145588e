"""What says nothing is told from what is short, repetitive or unusual, and true."""

from __future__ import annotations

import random
import time

import pytest

from beam_curate.captions.judge import echoes, fault, is_degenerate

SENTENCE = "The video shows a red car driving along a wet street at dusk while two people wait at the crossing."
LONG = (
    "The video begins with a wide view of a rainy street at dusk. A red sedan drives slowly towards the camera, its "
    "headlights reflected in the wet asphalt, while two pedestrians with umbrellas wait at the crossing on the left. "
    "Shop windows on both sides cast a warm yellow light on the pavement. The camera is fixed at about eye level and "
    "does not move. After a few seconds the traffic light turns from green to amber, the sedan brakes and stops before "
    "the line, and a cyclist in a yellow jacket passes it on the right. The pedestrians then cross from left to right. "
    "In the background a white delivery van is parked half on the pavement with its hazard lights on, and a tram with "
    "an illuminated number passes behind it. Towards the end the light turns green again, the sedan moves off, turns "
    "left behind the van and leaves the picture. The street is empty for the last second, except for the van."
)
WORDS = [
    "car",
    "road",
    "lane",
    "truck",
    "moves",
    "slowly",
    "past",
    "the",
    "left",
    "right",
    "building",
    "tree",
    "camera",
    "light",
    "wet",
    "street",
    "bus",
    "turns",
]


def salad(number: int, seed: int = 0) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=number))


SOUND = {
    "one word": "Rain.",
    "one letter": "x",
    "two words": "A car.",
    "short": "A car turns.",
    "sentence": SENTENCE,
    "long": LONG,
    "long twice": f"{LONG}\n\nIn short: {LONG}",
    "emphasis": "A very, very, very, very long train passes, and it goes on and on and on and on.",
    "three times": "The car drives straight ahead. " * 3 + "Then it turns.",
    "number": "3 cars, 2 buses, 1 tram.",
    "numbers": "Speeds: 31 km/h, 32 km/h, 33 km/h, 35 km/h, 36 km/h; distance 12.5 m, 12.0 m, 11.5 m, 11.0 m.",
    "list": "\n".join(f"- {thing}: {where}" for thing, where in
                      [("red sedan", "centre lane"), ("white van", "right kerb"), ("two pedestrians", "crossing"),
                       ("cyclist", "right lane"), ("traffic light", "ahead"), ("tram", "background")]),
    "numbered list": "1. A car turns left.\n2. A bus stops.\n3. A man crosses.\n4. The light is green.",
    "seconds": " ".join(f"At {second} s the car keeps its lane." for second in range(20)),
    "seconds of two digits": "\n".join(f"00:{second:02d} - The ego vehicle continues straight in its lane."
                                       for second in range(40)),
    "driving": " ".join(f"At {second} s the ego vehicle continues straight in the middle lane at about {speed} km/h."
                        for second, speed in enumerate(range(40, 70))),
    "frames": "\n".join(f"Frame {number}: the arm moves towards the cup." for number in range(1, 33)),
    "parts": "The gripper opens, moves down, closes, moves up. It opens, moves down, closes, moves up again. " * 2,
    "table": "| time | what | where |\n|------|------|-------|\n| 0 s | red car | left |\n| 2 s | bus | right |\n"
             "| 4 s | none | none |\n| 6 s | none | none |",
    "wide table": "| time " + "| vehicle " * 6 + "|\n" + "|" + "-" * 60 + "|" + "\n"
                  + "\n".join(f"| {second} s | car | none | none | bus | none | none |" for second in range(8)),
    "grid": "\n".join("| none | none | none | none |" for _ in range(4)) + "\nNothing is seen in any quarter.",
    "heading": "**Scene**\n\nA street.\n\n---\n\n**Motion**\n\nA car turns.\n\n" + "-" * 80,
    "points": "A car comes ... and comes ... and comes ... and turns.",
    "capitals": "A SIGN READS: STOP! STOP! STOP!",
    "digits of a plate": "A car with the plate B-XY 1234 and a phone number, +49 30 1234567890, on its door.",
    "url": "A sign reads https://www.example.org/a/b/c/d/e/f?x=1&y=2.",
    "quotes": 'A sign says "GO GO GO GO GO", and the crowd shouts "go, go, go, go, go, go".',
    "laughter": "The child laughs: ha ha ha ha ha ha!",
    "emoji": "A car turns left 🚗🚗🚗 and the sun sets 🌅.",
    "markup": "<p>3 < 4</p> & a [link](x), a `code`, *emphasis*, an email <me@example.org>.",
    "html": "The page shows <b>bold</b> text and a <br> tag.",
    "chinese": "视频显示一辆红色汽车在黄昏时分沿着湿漉漉的街道行驶\uff0c两名行人撑着伞在路口等候。"
               "随后交通信号灯由绿变黄\uff0c汽车减速停下\uff0c一名穿黄色夹克的骑车人从右侧驶过。",
    "chinese, short": "一辆车",
    "japanese": "夕暮れ時、赤い車が濡れた通りをゆっくりと走り、二人の歩行者が横断歩道で待っている。",
    "korean": "해질녘에 빨간 자동차가 젖은 거리를 천천히 달리고 두 사람이 횡단보도에서 기다린다.",
    "arabic": "يُظهر الفيديو سيارة حمراء تسير ببطء في شارع مبتل عند الغسق بينما ينتظر شخصان عند المعبر.",
    "hindi": "वीडियो में शाम के समय एक लाल कार गीली सड़क पर धीरे-धीरे चलती है और दो लोग पार करने की प्रतीक्षा करते हैं।",
    "thai": "วิดีโอแสดงรถยนต์สีแดงวิ่งช้าๆ ไปตามถนนที่เปียกในเวลาพลบค่ำ และคนสองคนรออยู่ที่ทางข้าม",
    "german": "Ein Donaudampfschifffahrtsgesellschaftskapitän fährt über die Brücke 🚗.",
    "greek": "Ένα κόκκινο αυτοκίνητο κινείται αργά σε έναν βρεγμένο δρόμο το σούρουπο.",
    "measured": "A bright, mostly grey picture with some blue. The picture content moves left throughout, at a steady "
                "pace. It stays about as bright from beginning to end. The window lasts 4.0 seconds.",
}  # fmt: skip

DEGENERATE = {
    "a sentence 170 times": f"{SENTENCE} " * 170,
    "a sentence 20 times": f"{SENTENCE} " * 20,
    "a sentence 5 times": f"{SENTENCE} " * 5,
    "a short sentence": "The car moves. " * 40,
    "a sentence after a caption": LONG + " The camera is fixed." * 60,
    "a sentence that broke off": LONG + f" {SENTENCE}" * 12 + " The video shows a red",
    "a sentence before a caption": "The camera is fixed. " * 60 + LONG,
    "a caption four times": f"{LONG}\n\n" * 4,
    "one word": "car " * 100_000,
    "one word 20 times": "car " * 20,
    "one word with commas": "car, " * 3000,
    "one word after a caption": LONG + " and" * 300,
    "two words": "the car " * 500,
    "words of a list": "red, green, blue, " * 300,
    "words without spaces": "car" * 5000,
    "a letter": "a" * 5000,
    "a letter in a sentence": f"{SENTENCE} soooooo" + "o" * 200,
    "letters": "a b " * 3000,
    "a line": "- a red car\n" * 200,
    "numbered lines": "\n".join(f"{number}. The car moves forward along the road." for number in range(1, 300)),
    "dashes between": "the car \u2013 " * 500,
    "what NaN gives": "!" * 8192,
    "what NaN gives, 2": "! " * 8192,
    "marks": "?!?!?!?!?!?!",
    "points": "." * 3000,
    "points after a caption": LONG + "!" * 3000,
    "digits": "0" * 300,
    "numbers alone": "0 1 2 3 4 5 6 7 8 9",
    "emoji": "🚗🚗🚗🚗🚗",
    "lines": "|---|---|\n" * 100,
    "numbers and commas": "0, " * 1000,
    "brackets": "[[[[[[]]]]]] a",
    "few words": " ".join(random.Random(1).choices(["car", "road", "the"], k=2000)),
    "chinese": "一辆红色汽车在街道上行驶。" * 40,
    "chinese characters": "车" * 500,
    "arabic": "سيارة حمراء تسير ببطء في شارع مبتل عند الغسق. " * 30,
    "hindi": "एक लाल कार गीली सड़क पर धीरे-धीरे चलती है। " * 30,
    "japanese": "赤い車が走っている。" * 60,
}
DEGENERATE |= {
    "few sentences in turns": " ".join(
        random.Random(3).choices(
            ["The car drives on.", "The bus follows it.", "A dog barks.", "The light turns green.", "People wait."],
            k=60,
        )
    ),
    "a short sentence alone": "The car moves. " * 6,
    "a sentence three times": f"{SENTENCE} " * 3,
    "chinese sentence four times": "一辆红色汽车在街道上行驶\uff0c两名行人在等候。" * 4,
    "a sentence 9 times at the end": LONG[:330] + " The car is red." * 9,
    "a numbered list of one thing": "\n".join(f"{number}. The car is red." for number in range(1, 13)),
    "two words in turns": "and the " * 15,
    "one word 8 times": "road " * 8,
    "counting": "car " + " ".join(str(number) for number in range(2000)),
    "coordinates": "A car at " + ", ".join(f"({i * 7 % 999},{i * 31 % 999})" for i in range(500)),
    "adjectives": "A very beautiful "
    + ", ".join(random.Random(4).choices(["lovely", "nice", "pretty", "fine"], k=300)),
    "points behind a caption": "A car." + "." * 300,
    "many scripts": "".join(random.Random(5).choices(["ing", "ции", "の", "한", "ة", "ção", "ธ"], k=400)),
}
NOTHING = [
    *(
        "",
        " \n\t",
        "Unknown caption",
        "unknown caption.",
        "\u3000",
        "\u200b",
        "\ufeff\u2060",
        "N/A",
        "n/a.",
        "null",
        "None",
    ),
    *(
        "(none)",
        "nan",
        "undefined",
        "unknown",
        "No",
        "OK.",
        "Sure!",
        "true",
        "caption",
        "[object Object]",
        "<br>",
        "<p></p>",
    ),
    *("&nbsp;", "No caption available.", "(empty)", "**N/A**", "Not available", '"null"', "TODO", "Error: "),
]
ALOUD = [
    "Okay, let's see. The user wants a caption of this video. First, I need to look at the frames.",
    "The user is asking for a detailed description of the video.",
    "We need to describe the video. It shows a car.",
    "So, the user asked me to improve the description.",
    "Hmm, let me think about what happens here.",
    "Alright, I need to write a caption. The car is red.",
    "Let\u2019s break this down: the first frame shows a car.",
]
MARKUP = [
    *("A car turns.<|im_end|>\n<|im_start|>user\nWhat?", "<|im_start|>assistant\nA car.", "<image>\nA car."),
    *("[INST] A.", "[/INST]A.", "{'caption': 'A car", '{"cars": 3}', "&lt;think&gt;Hm."),
    *("<caption>A</caption> <caption>B",),
    *("A car <|vision_start|><|image_pad|><|vision_end|> turns.", "A car.</s>A bus.", "<start_of_turn>model\nA car."),
    *("A <|object_ref_start|>car<|object_ref_end|><|box_start|>(1,2)<|box_end|> turns.", "<s> A car.", "A <unk> car."),
    *("<tool_call>{}</tool_call> A car.", "<\uff5cAssistant\uff5c>A car.", "A car.<|eot_id|>A bus.", "<<SYS>> A car."),
    *("A car <extra_id_0> turns.", '{"caption": "A car tur', '[{"caption": "A car', "◁image▷ A car.", "A</think>x"),
]  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_a_caption_that_says_something_is_sound(name: str) -> None:
    assert fault(SOUND[name]) is None


@pytest.mark.parametrize("name", DEGENERATE)
def test_one_that_says_nothing_is_degenerate(name: str) -> None:
    assert fault(DEGENERATE[name]) == "degenerate"


@pytest.mark.parametrize("text", MARKUP)
def test_chat_tokens_are_a_fault(text: str) -> None:
    assert fault(text) == "markup"


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, I can\u2019t assist with that request.",
        "I'm unable to view videos directly. If you describe it, I can help.",
        "I cannot see any video.",
        "Sorry, I cannot analyze this video.",
        "I am not able to provide a description of this video.",
        "As an AI language model, I cannot watch videos.",
        "Unfortunately, I don't have access to the video.",
        "I can't identify people in images.",
        *(
            "I'm sorry, but I can't",
            "I cannot",
            "Sorry, no.",
            "I must decline.",
            "My apologies, but I am unable to help.",
        ),
        *("I can't create that content.", "I have to decline this request.", "I won't describe this.", "I'm sorry."),
        *("There is no video attached.", "No video was provided.", "Please provide the video."),
        *("It seems that no video has been provided. Please upload it.", "You haven't attached a video."),
        *("It looks like you haven't attached a video.", "It appears the video did not upload correctly."),
        *("As a text-based AI, I can't watch videos.", "As a language model, I am unable to see images."),
        *("This content violates our policy.", "Could you please provide the video?", "The video cannot be described."),
        *("I need more information to describe the video.", "Hello! How can I help you today?"),
        *("I will describe the video.", "Thank you for sharing the video!", "Let me know if you have any questions."),
        *(
            "抱歉\uff0c我无法描述这个视频。",
            "我无法查看视频。",
            "申し訳ありませんが、その動画を説明することはできません。",
        ),
        *("Lo siento, no puedo ayudar con eso.", "Je suis désolé, mais je ne peux pas vous aider."),
        *("Es tut mir leid, aber ich kann dabei nicht helfen.", "I don't have access to the video you mention."),
        "The pictures are frames of a video, 2 per second, seen at these times in seconds: 0.00, 0.50.",
    ],
)
def test_a_model_that_declines_says_nothing_of_the_video(text: str) -> None:
    assert fault(text) == "declined"


@pytest.mark.parametrize(
    "text",
    [
        "I can see a red car that turns left.",
        "A man says: I'm sorry, I can't help you.",
        "Sorry signs hang in the shop window.",
        "Unfortunately parked, a car blocks the lane.",
        "I'm seeing a street at dusk.",
        "I see a car. I cannot see its driver.",
        f"I cannot see the driver, but {LONG}",
        "I cannot see the driver because the windscreen reflects, but the car is red and it turns left.",
        "I don't see any people; a dog sleeps on a sofa.",
        "I can't help but notice a red umbrella in the crowd.",
        "I could not identify the make of the car, a red saloon that turns left into a side street.",
        "I don't have a clear view of the road ahead; fog covers it.",
        "I can't identify the driver, who wears a helmet. The motorcycle overtakes a bus.",
        "There is no video screen in the hall; an audience claps.",
    ],
)
def test_a_caption_in_the_first_person_is_sound(text: str) -> None:
    assert fault(text) is None


@pytest.mark.parametrize("text", NOTHING)
def test_nothing_is_a_fault(text: str) -> None:
    assert fault(text) == "empty"


@pytest.mark.parametrize("text", ALOUD)
def test_reasoning_without_marks_is_a_fault(text: str) -> None:
    assert fault(text) == "reasoning"


def test_what_only_repeats_the_prompt_is_an_echo() -> None:
    prompt = "Describe this video in detail: the place and the light, the people. Write in English."
    assert echoes(prompt, prompt)
    assert echoes('"describe this video in detail: the place"', prompt)
    assert not echoes("The place and the light.", prompt)  # too little to say so
    assert not echoes(f"{prompt} A red car turns left.", prompt)


@pytest.mark.parametrize("text", ["A \ufffd\ufffd car", "A \ud83d car", "\udc80"])
def test_bytes_that_are_no_text_are_a_fault(text: str) -> None:
    assert fault(text) == "undecodable"


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610])
def test_prose_of_every_length_is_sound(length: int) -> None:
    """Sentences that differ, of few words each, as a model writes them of one scene."""
    draw = random.Random(length)
    nouns = [
        "car",
        "bus",
        "tram",
        "cyclist",
        "pedestrian",
        "van",
        "truck",
        "dog",
        "light",
        "sign",
        "tree",
        "building",
        "camera",
        "road",
        "crossing",
        "driver",
    ]
    verbs = [
        "passes",
        "follows",
        "approaches",
        "leaves",
        "overtakes",
        "faces",
        "nears",
        "hides",
        "shows",
        "crosses",
        "reaches",
        "meets",
    ]
    where = [
        "slowly",
        "on the left",
        "on the right",
        "in the distance",
        "after a moment",
        "in the rain",
        "at dusk",
        "once more",
    ]
    said = [
        f"{draw.choice(['The', 'A', 'Another'])} {draw.choice(nouns)} {draw.choice(verbs)} the {draw.choice(nouns)} "
        f"{draw.choice(where)}."
        for _ in range(length)
    ]
    assert fault(" ".join(said)) is None


@pytest.mark.parametrize(
    "text",
    ["car " * 100_000, "a" * 4_000_000, f"{SENTENCE} " * 40_000, salad(800_000), "\n" * 4_000_000, "! " * 2_000_000],
)
def test_the_longest_answers_are_judged_at_once(text: str) -> None:
    begin = time.process_time()
    is_degenerate(text)
    assert time.process_time() - begin < 20
