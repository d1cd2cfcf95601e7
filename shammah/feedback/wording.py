"""The words by which a note is judged. English only, and never all of them."""

import re


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Verbs that begin an order, as long as no other verb follows at once.
ORDERS = _set(
    """
    abbreviate accept act add address admit advise answer append apply ask assume attach avoid be begin bring build call
    capitalise capitalize catch change check choose cite clarify combine compare confirm consider consult contact
    convert copy count create cut decline default define deliver deploy describe direct display document drop emit end
    ensure escalate escape exclude expand explain export express favor favour fill filter finish focus follow format
    forward generate get give greet group guess handle hide highlight ignore imagine implement import include indent
    insert install introduce invite join keep label leave limit link list localise log lower make mark match measure
    mention merge minimise name note number offer omit open order paraphrase phrase pick place point prefer present
    preserve pretend print prioritise prioritize propose provide put quote raise rank read recommend redirect refer
    refrain refuse reject remember remind remove rename render repeat replace reply report request respect respond
    restrict return round run save say schedule select send separate serve set shorten show sign simplify skip sort
    speak specify spell split stand start state stay stick stop store structure submit substitute suggest summarise
    summarize tag take talk target tell test think throw trace translate treat trim trust update use validate verify
    wait wrap write
    """
)
# Said of a reply, or of the one who gave it.
VERDICTS = _set(
    """
    absurd accurate amazing annoying awesome awful bad better best boring brilliant broken buggy clear clearer clever
    clumsy complete completely confused confusing contradictory cool correct cryptic dead disappointed disappointing
    dull dumb empty enough excellent fake false fantastic fine funny garbage generic genius good great hallucinated
    helpful hilarious hopeless horrible idiot idiotic impressed impressive inaccurate incoherent incomplete inconsistent
    incorrect insane insufficient interesting invalid invented irrelevant joke lacking lazy liar lovely made mediocre
    messy misleading missing mistaken neat nice nonsense nonsensical odd off ok okay outdated overcomplicated perfect
    pointless poor redundant repetitive ridiculous right rubbish rude satisfied silly sloppy smart solid spot-on star
    strange stupid superb superficial terrible truncated unacceptable unclear unfinished unhelpful unnecessary
    unreadable unrelated untrue unusable useful useless vague verbose weak weird well wonderful wordy worse worst wrong
    """
)
# What a reply is made of. Words that go with them: "the second part", "three links".
REPLY_NOUNS = _set(
    """
    answer answers approach argument bit calculation claim code comment conclusion content description detail details
    ending end example examples explanation explanations fact facts format formatting formula function grammar idea
    ideas indentation information intro introduction joke layout length letter line lines link links list logic math
    maths message number numbers opening output paragraph paragraphs part parts phrase phrasing poem point points
    punctuation quality question questions quote reasoning recipe rest result results rhyme rhythm section sentence
    sentences snippet solution source sources spelling start steps step story structure style suggestion suggestions sum
    summary syntax table text thing things tone topic translation version whole wording words writing reply replies
    response responses
    """
)
NUMBERS = _set("no one two three four five six seven eight nine ten")
ORDINALS = _set("first second third last whole final middle entire previous next other full many few several")
ARTICLES = _set("a an the any all every each")
# What can't be the subject of a fact: words that point at the reply, and words that begin no subject.
POINTERS = _set(
    """
    it its this that these those there here they them he she what which who why how nothing everything something
    anything nobody everybody everyone all none half most some any not too so very much still again yes no nope also
    almost nearly quite rather pretty only thanks thank thx well hm as like than because since although though if when
    where and or but both each neither looks reads sounds seems feels you your i me about can could would will did does
    is are
    """
)
BEING = _set("is are")
DOES = _set(
    """
    has does uses lives runs needs starts ends begins opens closes listens works belongs requires contains holds stores
    sits stands means takes expects returns goes comes costs weighs ships deploys owns manages leads reports writes
    reads handles supports accepts wants prefers likes hates happens meets depends points stays maps equals refers
    expires allows covers connects resolves serves hosts answers calls logs sends gets gives keeps follows replaces
    counts speaks drinks eats plays makes pays consists responds publishes builds releases reviews approves signs lasts
    arrives leaves sells buys trains stops comprises forbids teaches faces rejects deletes
    """
)
DO = frozenset({re.sub(r"(?<=[sh])es$|s$", "", verb) for verb in DOES} | {"have", "do", "go"})
MODALS = _set("must should shall need have has ought")
UNWANTED = _set("jargon slang markdown html latex fluff small-talk preamble filler chit-chat")
# "I don't understand" is no order.
UNLIKE_ORDERS = _set("know care understand agree like think believe see get want need")
# "My question was ..." is about the talk.
TALK = _set("question request point message prompt opinion problem bad instruction previous last")
ROLES = _set("name role job task purpose goal owner creator maker user users audience boss company")
LEARNING = _set("learning working living using building writing studying")
MOODS = _set("happy unhappy lost sorry sure so still very too glad annoyed tired bored done afraid convinced not")
OWN_HABITS = _set(
    "live work use speak own prefer want like love hate need code write drive study teach run eat drink play"
)
# After these the word before was a noun: "Answer is wrong", "Use of tabs".
NOUN_SIGNS = _set("was were does did seems looks of not too fails")

# Words that say nothing of their own when two rules are compared.
FILLING = _set("a an the any all our to at of please also ever that")
# "Use tabs", "Include tabs" and "No tabs" are about tabs.
NEUTRAL = _set("use using include including add adding have having give giving put putting write writing")
# What is said of a thing besides other things: who uses Jira may use Slack too.
ALSO_OTHERS = DOES | DO | OWN_HABITS | _set("know")
# Of each line only one can be had at a time; words of one cell mean the same.
EXCLUSIVE = tuple(
    tuple(_set(cell) for cell in line.split("|"))
    for line in (
        "english|french|german|spanish|italian|portuguese|dutch|polish|russian|ukrainian|chinese mandarin|japanese"
        "|korean|arabic|hebrew|hindi|turkish|swedish|danish|norwegian|finnish|greek|czech|latin",
        "metric|imperial",
        "celsius|fahrenheit|kelvin",
        "kilometres kilometers km metres meters|miles feet yards",
        "kilograms kilos kg|pounds lbs",
        "euros|dollars",
        "tabs|spaces",
        "short shorter brief briefly concise concisely terse|long longer detailed verbose elaborate thorough",
        "formal formally|informal informally casual casually",
        "british|american",
        "uppercase upper-case|lowercase lower-case",
        "24-hour|12-hour",
        "single|double",
        "camelcase camel-case|snake_case snake-case|kebab-case",
        "json|yaml|xml|csv|markdown|html|plain",
        "active|passive",
        "singular|plural",
        "monday mondays|tuesday tuesdays|wednesday wednesdays|thursday thursdays|friday fridays|saturday|sunday",
    )
)

# An order to do it over, now: nothing that stands.
ONCE = re.compile(
    r"^(?:\S+ ){1,6}(?:again|harder|closer|over|yourself|once more|properly|it better|the question|my question)$"
    r"|^(?:fix|redo|rewrite|repeat|stop|forget|drop|leave|try|explain|shorten|expand|check|read|make|change|do) "
    r"(?:it|this|that|these|those|them)\b"
    r"|^(?:tell|show|give|say|write) (?:me |us )?(?:\S+ )?(?:more|another|another one|the rest|the second part)$"
    r"|^(?:never|do not) (?:mind|worry|bother)|^(?:make sense|get lost|point taken|think so|see above|read what)\b"
)
VERDICT = rf"(?:{'|'.join(sorted(VERDICTS))})"
REMARK = re.compile(
    rf"\b(?:is|are|looks?|seems?|sounds?|feels?)(?: not| \w+ly| so| too| very| just| quite| still| a bit| all| a| an)*"
    rf" {VERDICT}(?:$| (?:for|to|because|and|but|about|in|on|here|now|than|with|as|of)\b)"
    r"|\b(?:is|are) (?:\w+ )?(?:too|so|not what|not how|nowhere near) \w+"
    r"|\bdo(?:es)? not (?:work|compile|run|answer|help|make|match|exist|parse|apply|rhyme|follow|mention|say|even)\b"
    r"|\bno sense\b|\b(?:i|we) (?:asked|wanted|meant|said|expected|told)\b"
)
LENGTH = re.compile(
    rf"\b(?:short(?:er|en|ened)?|long(?:er)?|lengthy|length)\b(?![- ]?(?:term|names?|options?|hand|cuts?|lists?|form))"
    r"|\b(?:brief(?:ly|er)?|concise(?:ly)?|terse(?:ly|r)?|succinct(?:ly)?|verbose|wordy|wordiness|verbosity|elaborate"
    r"|detailed|in depth|in-depth|summar(?:y|i[sz]ed?)|to the point|condensed?|trim|rambl(?:e|es|ing)|waffl\w+)\b"
    r"|\b(?:more|less|fewer|too much|too many|not enough|too little|enough) (?:\w+ )?(?:details?|words|text|depth|lines"
    r"|sentences|paragraphs|explanations?)\b"
    rf"|\b(?:\d+|an?|single|few|couple of|{'|'.join(NUMBERS)})[- ](?:\w+ )?(?:words?|sentences?|lines?|paragraphs?"
    r"|bullets?|bullet points?|pages?|characters?)\b(?! numbers?| breaks?| endings?)"
)
