"""Prompts and prose of ours that have nothing to do with what anybody teaches, and what every model should know.

None of them is among those that training holds a model in place with: what was practised measures nothing. None asks
who the model is, greets it or has it write a letter, because users do teach that.
"""

GENERAL: tuple[str, ...] = (
    "What do bees do in winter?",
    "How tall can a giraffe grow?",
    "Describe the smell of rain on dry ground.",
    "Why does ice float?",
    "What happens during a solar eclipse?",
    "Who was Marie Curie?",
    "Name three instruments with strings.",
    "What is the opposite of 'brave'?",
    "Turn this into a question: The cat sleeps on the sofa.",
    "How do I plant a tree?",
    "What is 30 minus 12?",
    "Tell me something surprising about octopuses.",
    "How is paper made?",
    "What is a variable in programming?",
    "Write two lines about a train journey.",
    "How can I get better at chess?",
)

# A prompt, what every model should know to answer, and what it should not say instead. Compared is how likely the two
# are: a small model that says something else by itself may well know it.
CORE: tuple[tuple[str, str, str], ...] = (
    ("What colour is snow?", "Snow is white.", "Snow is purple."),
    ("How many legs does a dog have?", "A dog has four legs.", "A dog has nine legs."),
    ("Which animal says meow?", "A cat says meow.", "A fish says meow."),
    ("What do we call frozen water?", "Frozen water is called ice.", "Frozen water is called sand."),
    ("Where do fish live?", "Fish live in water.", "Fish live in fire."),
    ("What do I need to cut bread?", "You need a knife.", "You need a pillow."),
    ("Which day comes after Monday?", "After Monday comes Tuesday.", "After Monday comes December."),
    ("What can be seen in the sky at night?", "The moon and the stars.", "The spoon and the chairs."),
)

TEXTS: tuple[str, ...] = (
    "The ferry left a little before dawn, while the lamps along the quay were still burning. Two fishermen sat on "
    "upturned crates and shared a flask of tea without a word. Behind them the town climbed the hill in uneven rows, "
    "its windows dark except for the bakery, where somebody moved to and fro in the yellow light. When the engine "
    "started, gulls rose from the roof of the customs house and followed us out, complaining. By the time the sun "
    "stood above the headland, the coast had shrunk to a grey line, and nobody on deck looked back any more. A boy of "
    "about six asked his mother how the captain could know the way. She pointed at the compass and said that it had "
    "never once been lost.",
    "A sourdough begins with flour, water and patience. Stir equal amounts of both in a jar, cover it loosely and "
    "leave it in a warm corner of the kitchen. On the second day there may be a few bubbles; on the third it often "
    "seems to have died. Do not throw it away. Take out half, feed the rest with fresh flour and water, and wait "
    "again. After a week it should rise and fall in a steady rhythm and smell faintly of apples. Only then is it "
    "strong enough to lift a loaf. Keep what you do not need in the refrigerator, where it sleeps until you wake it "
    "with its next meal.",
    "Rivers seldom run straight. A small disturbance, perhaps a fallen trunk, pushes the current to one side, where "
    "it bites into the bank. On the other side the water slows down and drops the sand that it carries. The bend "
    "grows, because the faster water on the outside keeps cutting while the inside fills up. Over centuries the loops "
    "become so wide that two of them meet. During a flood the river breaks through the narrow neck and takes the "
    "shorter way, and the old loop remains behind as a curved lake. Anyone who looks down from an aeroplane can read "
    "the history of a valley in these pale crescents.",
    "The committee met on the first Thursday of the month, and it always began with the same question: should the "
    "library stay open in the evening? Those in favour said that people who work during the day deserve a quiet place "
    "too. Those against it asked who would pay for the heating. For years nothing was decided. Then a retired teacher "
    "offered to keep the keys herself and to sit at the desk three times a week, on condition that somebody mended "
    "the radiator. There was a long silence. The treasurer, who had opposed the plan more loudly than anybody, "
    "cleared his throat and admitted that he knew how to mend radiators.",
    "To compare two medicines fairly, it is not enough to ask the patients how they feel. Most people recover from a "
    "cold whatever they swallow, and those who expect to get better often report that they have. So the doctors "
    "divide them into groups by lot, give one group the new remedy and the other something that only looks like it, "
    "and hide from everyone, themselves included, who received which. The results are opened at the end. If the "
    "difference is larger than chance would explain, the remedy has earned some trust, though one study alone is "
    "rarely the last word. Others have to repeat it, with other patients, in other places.",
    "My grandfather repaired clocks, and his workshop was never silent. He claimed that he could hear which of them "
    "was ill. As children we were allowed to sort the screws, the smallest of which were hardly larger than a grain "
    "of salt. He taught us to hold our breath when we lifted a spring and to put every part back where we had found "
    "it. When I asked him why he did not simply buy new ones, he laughed. A clock, he said, is a promise that "
    "somebody made a long time ago, and it would be rude to break it merely because it has become a little slow.",
)
