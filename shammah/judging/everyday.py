"""Words that say nothing about where they come from."""

# Words of asking and joining: what is left of a question without them is what it is about.
JOINING = frozenset(
    """a about am an and any are as at be been but by can could did do does done for from get give had has have he
    her here him his how i if in into is it its just know let like make may me might my need no not of on one or
    our out over please put say shall she should show so some such tell than that the their them then there
    these they this those to up us use want was we were what when where which who whom whose why will with would
    write you your""".split()
)

# Of calendars, counting, talk, work, house and nature: whoever speaks of anything uses some of them.
EVERYDAY = JOINING | frozenset(
    """able above accept access accord account achieve across act action active activity actual actually add
    addition additional address adjust admire adult advance advantage adventure advice affect afraid after
    afternoon again against age agent ago agree ahead aim air allow almost alone along already also although
    always amazing amount ancient anger animal another answer anybody anyone anything apart appear apple apply
    approach april appropriate area arm around arrive art article ask aspect assist assistant attack attempt
    attention attract august author available average avoid away baby back bad bag balance ball bank base basic
    basket bath beach bear beat beautiful beauty became because become bed bee before began begin behave
    behaviour behavior behind being believe behind bell belong below beneath benefit beside best better between beyond
    big bird birth birthday bit bite black blade block blood blow blue board boat body bone book border born
    both bottle bottom bow bowl box boy branch brave bread break breakfast breath breathe bridge brief bright
    bring broad broke brother brought brown brush build building built burn bus business busy butter button buy
    calendar call calm came camera camp captain car card care careful carefully carry case cat catch category
    cause celebrate cell cent centre center century certain chain chair challenge chance change chapter
    character charge charm cheap check cheese chess child children choice choose chose church circle citizen
    city class classic classroom clean clear clearly clever click climate climb clock close cloth clothes cloud
    coast coat code coffee cold colleague collect collection college colour color combination combine come
    comfort comfortable command comment common communicate community company compare complete complex computer
    concept concern condition connect consider consist constant contact contain content context continue control
    conversation cook cool copy corner correct cost country couple courage course cover create creation creative
    creature crop cross crowd cry culture cup curious current customer cut cycle daily dance danger dangerous
    dark data date daughter day dead deal death december decide decision deep deeply defence defend define
    degree deliver depend depth describe description desert design desire desk detail determine develop
    development device die differ difference different difficult dig dinner direct direction dirt discover
    discovery discuss disease dish distance divide doctor document dog door double doubt down draw dream dress
    drink drive drop dry due during dust duty each ear early earn earth ease easily east easy eat edge education
    effect effective effort egg eight eighteen eighty either electric element eleven else email emotion employee
    empty enable encourage end enemy energy engage engine english enjoy enough ensure enter entire environment
    equal equipment error especially essential establish even evening event eventually ever every everybody
    everyday everyone everything evidence exact exactly example excellent except exchange excite exciting
    exercise exist expect experience expert explain explore express extra eye face fact factor fail fair fall
    false family famous far farm fashion fast father favour favourite favorite fear feature february feed feel
    feeling feet fell fellow felt few field fifteen fifty fight figure file fill film final finally find fine
    finger finish fire firm first fish fit five fix flat flavour flavor flight float floor flour flow flower fly
    focus folder folk follow food foot force foreign forest forever forget forgot form formal former forty
    forward found four free freedom french fresh friday friend friendly front fruit full fun function further
    future gain game garden gate gather gave general generate generally gentle german gift girl given glad glass
    goal god gold gone good grade grain gram grand grass great greatly green greet greeting grew grey gray
    ground group grow growth guard guess guest guide habit hair half hall hand handle hang happen happiness
    happy hard harm hat hate head health healthy hear heard heart heat heavy held hello help helpful hence herb
    herself hidden hide high highly hill himself historic history hit hold hole holiday home honest hope horse
    hospital hot hotel hour house however huge human hundred hungry hunt hurry hurt ice idea identify image
    imagine immediate immediately impact important improve inch include increase indeed indicate individual
    industry influence inform information ingredient initial inner insect inside inspire instead instruction
    instrument intend interest interesting internet introduce invent invite involve iron island issue item
    itself jacket january job join journey joy judge july jump june keep kept key kid kill kilogram kilometre
    kilometer kind king kitchen knee knew knife knock knowledge label lack lady lake land landscape language
    large largely last late lately later latter laugh law lay layer lead leader leaf learn least leather leave
    leaves led left leg legal lemon length less lesson letter level library lie life lift light likely limit
    limited line link lion liquid list listen literature litre liter little live living load local location lock
    long longer look loose lose loss lost lot loud love lovely low luck lunch machine made magic mail main
    mainly maintain major majority male man manage manager manner many map march mark market marriage master
    match material matter maximum maybe meal mean meaning means meant measure meat media medical medicine medium
    meet meeting melt member memory men mention menu message met metal method metre meter middle midnight mile
    milk million mind mine minimum minor minus minute mirror miss mistake mix mixture model modern moment monday
    money month mood moon moral morning most mostly mother motion mountain mouse mouth move movement movie much
    multiple music must myself name narrow nation national native natural nature near nearby nearly necessary
    neck negative neighbour neighbor neither nerve network never new news newspaper next nice night nine ninety
    nobody noise none noon nor normal normally north nose note nothing notice november now number object observe
    obvious occasion occur ocean october off offer office officer official often oil old once online only onto
    open operate operation opinion opportunity opposite option orange order ordinary organ organise organize
    original other otherwise ought ourselves outcome outdoor outside oven overall own owner oxygen pack package
    page paid pain paint pair pan paper paragraph parent park part particular particularly partner party pass
    passage passion password past path patient pattern pause pay peace pen people pepper per percent perfect
    perform perhaps period permission person personal perspective phone photo phrase physical pick picture piece
    place plain plan plane planet plant plate play player pleasant pleasure plenty plus pocket poem poet point
    police policy political poor popular population portion position positive possible possibly post pot
    potential pound pour power powerful practical practice practise praise prefer prepare present press pressure
    pretty prevent previous price pride primary print prior private prize probably problem process produce
    product professional profit program programme progress project promise proper properly property protect
    proud prove provide public pull purpose push quality quarter queen question quick quickly quiet quietly
    quite race radio rain raise ran range rapid rare rarely rate rather raw reach react read reader ready real
    reality realise realize really reason receive recent recently recipe recognise recognize recommend record
    red reduce refer reflect region regular relate relation relationship relax release relevant remain remember
    remind remove repair repeat replace reply report represent request require research reserve resource respect
    respond response responsible rest restaurant result return reveal review reward rich ride right ring rise
    risk river road rock role roll roof room root rope rough round route routine row rule run sad safe safety
    said sail salad salt same sand sat saturday save saw scale scene school science scientific scientist score
    screen script sea search season seat second secret section secure see seed seek seem seen select self sell
    send sense sensitive sentence separate september series serious serve server service set setting settle
    seven seventy several shadow shake shape share sharp sheet shelf shine ship shirt shoe shop short shoulder
    shout side sight sign significant silence silent silver similar simple simply since sing single sink sir
    sister sit site situation six sixteen sixty size skill skin sky sleep slice slide slight slightly slip slow
    slowly small smart smell smile smoke smooth snack snow social society soft software soil solid solution
    solve somebody somehow someone something sometimes somewhere son song soon sort sound soup source south
    space spanish speak special specific speech speed spell spend spirit split spoke spoon sport spot spread
    spring square staff stage stand standard star start state statement station stay steady steel step stick
    still stir stomach stone stood stop store storm story straight strange strategy stream street strength
    stress stretch string strong strongly structure struggle student study stuff style subject success
    successful sudden suddenly suffer sugar suggest suit suitable sum summary summer sun sunday sunlight supply
    support sure surface surprise surprising surround sweet swim symbol system table tail take taken talent talk
    tall task taste tea teach teacher team tear technique technology teeth telephone television temperature ten
    tend term test text thank thanks themselves theory therefore thick thin thing think third thirteen thirty
    though thought thousand thread three threw through throughout throw thumb thursday thus tie tight till time
    tiny tip tired title today together told tomato tomorrow ton tone tongue tonight too took tool top topic
    total touch tough tour toward towards town toy track trade tradition traditional train training transport
    travel treat tree triangle trick trip trouble true truly trust truth try tuesday turn twelve twenty twice
    two type typical typically under understand unique unit universe unless until unusual upon upper user usual
    usually valley valuable value variable variety various vary vast vegetable vehicle version very video view
    village visit visitor voice wait wake walk wall warm warn wash waste watch water wave way weak wealth wear
    weather website wednesday week weekend weekly weigh weight welcome well went west wet whatever wheel
    whenever whether while whisper white whole wide wife wild win wind window wine wing winter wire wise wish
    within without woman women wonder wonderful wood word work worker world worry worse worst worth wrap writer
    writing written wrong wrote yard year yellow yes yesterday yet young yourself zero africa america american
    asia australia british canada china chinese europe european france germany greek india italian italy japan
    japanese latin london paris roman rome spain css html java javascript linux python sql web windows bye
    cheers dear hey hi hmm mr mrs ms oh ok okay regards sincerely sorry accordingly approximately arctic
    atmosphere carbon chemical colourful colorful delicious delightful dioxide diverse ecosystem efficient
    efficiently fascinating fibre fiber fragrance glow golden gravity habitat horizon hydrogen incorporate
    mammal marine melody migrate molecule nectar nitrogen nutrient orbit organism particle peaceful petal
    photosynthesis physicist pollen predator prey protein reproduce rhythm scent species strategic survive
    technological tentacle texture vibrant visible violin""".split()
)
