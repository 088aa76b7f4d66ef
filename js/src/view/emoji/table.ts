/** Emoji with GitHub's names for them, from gemoji (MIT): without flags, variants of people, and rare ones. */

export const EMOJI_TABLE = `
😀:grinning 😃:smiley 😄:smile 😁:grin 😆:laughing,satisfied 😅:sweat_smile 🤣:rofl 😂:joy 🙂:slightly_smiling_face
🙃:upside_down_face 🫠:melting_face 😉:wink 😊:blush 😇:innocent 😍:heart_eyes 🤩:star_struck 😗:kissing ☺️:relaxed
😋:yum 😛:stuck_out_tongue 🤪:zany_face 🤗:hugs 🤔:thinking 🫡:saluting_face 🤐:zipper_mouth_face 🤨:raised_eyebrow
😐:neutral_face 😑:expressionless 😶:no_mouth 😏:smirk 😒:unamused 🙄:roll_eyes 😬:grimacing 🤥:lying_face 😌:relieved
😔:pensive 😪:sleepy 😴:sleeping 😷:mask 🤢:nauseated_face 🥵:hot_face 🥶:cold_face 🥴:woozy_face 😵:dizzy_face
🤯:exploding_head 🥳:partying_face 😎:sunglasses 🤓:nerd_face 🧐:monocle_face 😕:confused 😟:worried 😮:open_mouth
😯:hushed 😲:astonished 😳:flushed 🥺:pleading_face 😦:frowning 😧:anguished 😨:fearful 😰:cold_sweat 😢:cry 😭:sob
😱:scream 😖:confounded 😣:persevere 😞:disappointed 😓:sweat 😩:weary 😫:tired_face 😤:triumph 😡:rage,pout 😠:angry
😈:smiling_imp 👿:imp 💀:skull 🤡:clown_face 👻:ghost 👽:alien 🤖:robot 😺:smiley_cat 😸:smile_cat 😹:joy_cat
🙀:scream_cat 🙈:see_no_evil 🙉:hear_no_evil 🙊:speak_no_evil 💌:love_letter 💘:cupid 💝:gift_heart 💗:heartpulse
💓:heartbeat 💕:two_hearts 💔:broken_heart ❤️‍🔥:heart_on_fire ❤️‍🩹:mending_heart ❤️:heart 🩷:pink_heart
🧡:orange_heart 💛:yellow_heart 💚:green_heart 💙:blue_heart 💜:purple_heart 🤎:brown_heart 🖤:black_heart
🩶:grey_heart 🤍:white_heart 💋:kiss 💯:100 💢:anger 💥:boom,collision 💫:dizzy 💦:sweat_drops 💨:dash 🕳️:hole
💬:speech_balloon 💭:thought_balloon 💤:zzz 👋:wave ✋:hand,raised_hand 👌:ok_hand ✌️:v 🤞:crossed_fingers 🤘:metal
🤙:call_me_hand 👈:point_left 👉:point_right 👆:point_up_2 👇:point_down ☝️:point_up 👍:+1,thumbsup 👎:-1,thumbsdown
✊:fist_raised,fist 👊:facepunch,punch 🤛:fist_left 🤜:fist_right 👏:clap 🙌:raised_hands 🫶:heart_hands 👐:open_hands
🤝:handshake 🙏:pray ✍️:writing_hand 💅:nail_care 🤳:selfie 💪:muscle 🦾:mechanical_arm 🦵:leg 🦶:foot 👂:ear 👃:nose
🧠:brain 🫁:lungs 🦷:tooth 🦴:bone 👀:eyes 👁️:eye 👅:tongue 👄:lips 🫦:biting_lip 👶:baby 🧒:child 👦:boy 👧:girl
🧑:adult 👨:man 👩:woman 🙅:no_good 🙆:ok_person 🧏:deaf_person 🙇:bow 🤦:facepalm 🤷:shrug 🧑‍🔬:scientist
🧑‍💻:technologist 🧑‍🚀:astronaut 👮:cop 🕵️:detective 💂:guard 🥷:ninja 👷:construction_worker 🤴:prince 👸:princess
👼:angel 🎅:santa 🤶:mrs_claus 🦸:superhero 🧙:mage 🧚:fairy 🧛:vampire 🧜:merperson 🧝:elf 🧞:genie 🧟:zombie
🧌:troll 💆:massage 💇:haircut 🚶:walking 🏃:runner,running 👯:dancers 🧗:climbing ⛷️:skier 🏂:snowboarder 🏌️:golfing
🏄:surfer 🚣:rowboat 🏊:swimmer 🚴:bicyclist 🤼:wrestling 🤽:water_polo 🛀:bath 👣:footprints 🐵:monkey_face 🐒:monkey
🦍:gorilla 🦧:orangutan 🐶:dog 🐕:dog2 🦮:guide_dog 🐩:poodle 🐺:wolf 🦊:fox_face 🦝:raccoon 🐱:cat 🐈:cat2 🦁:lion
🐯:tiger 🐅:tiger2 🐴:horse 🫎:moose 🫏:donkey 🐎:racehorse 🦄:unicorn 🦓:zebra 🦌:deer 🦬:bison 🐮:cow 🐂:ox 🐄:cow2
🐷:pig 🐖:pig2 🐗:boar 🐽:pig_nose 🐏:ram 🐑:sheep 🐐:goat 🐫:camel 🦙:llama 🦒:giraffe 🐘:elephant 🦣:mammoth
🦏:rhinoceros 🐭:mouse 🐁:mouse2 🐀:rat 🐹:hamster 🐰:rabbit 🐇:rabbit2 🐿️:chipmunk 🦫:beaver 🦔:hedgehog 🦇:bat
🐻:bear 🐨:koala 🐼:panda_face 🦥:sloth 🦦:otter 🦨:skunk 🦘:kangaroo 🦡:badger 🐾:feet,paw_prints 🦃:turkey
🐔:chicken 🐓:rooster 🐤:baby_chick 🐦:bird 🐧:penguin 🕊️:dove 🦅:eagle 🦆:duck 🦢:swan 🦉:owl 🦤:dodo 🪶:feather
🦩:flamingo 🦚:peacock 🦜:parrot 🪽:wing 🪿:goose 🐸:frog 🐊:crocodile 🐢:turtle 🦎:lizard 🐍:snake 🐲:dragon_face
🐉:dragon 🦕:sauropod 🦖:t-rex 🐳:whale 🐋:whale2 🐬:dolphin,flipper 🦭:seal 🐟:fish 🐡:blowfish 🦈:shark 🐙:octopus
🐚:shell 🪸:coral 🪼:jellyfish 🐌:snail 🦋:butterfly 🐛:bug 🐜:ant 🐝:bee,honeybee 🪲:beetle 🐞:lady_beetle 🦗:cricket
🪳:cockroach 🕷️:spider 🕸️:spider_web 🦂:scorpion 🦟:mosquito 🪰:fly 🪱:worm 🦠:microbe 💐:bouquet 🪷:lotus
🏵️:rosette 🌹:rose 🌺:hibiscus 🌻:sunflower 🌼:blossom 🌷:tulip 🪻:hyacinth 🌱:seedling 🌴:palm_tree 🌵:cactus
🌾:ear_of_rice 🌿:herb ☘️:shamrock 🍀:four_leaf_clover 🍁:maple_leaf 🍂:fallen_leaf 🍃:leaves 🪹:empty_nest
🍄:mushroom 🍇:grapes 🍈:melon 🍉:watermelon 🍊:tangerine,orange,mandarin 🍋:lemon 🍌:banana 🍍:pineapple 🥭:mango
🍎:apple 🍏:green_apple 🍐:pear 🍑:peach 🍒:cherries 🍓:strawberry 🫐:blueberries 🥝:kiwi_fruit 🍅:tomato 🫒:olive
🥥:coconut 🥑:avocado 🍆:eggplant 🥔:potato 🥕:carrot 🌽:corn 🌶️:hot_pepper 🫑:bell_pepper 🥒:cucumber 🥬:leafy_green
🥦:broccoli 🧄:garlic 🧅:onion 🥜:peanuts 🫘:beans 🌰:chestnut 🫚:ginger_root 🫛:pea_pod 🍞:bread 🥐:croissant
🫓:flatbread 🥨:pretzel 🥯:bagel 🥞:pancakes 🧇:waffle 🧀:cheese 🍗:poultry_leg 🥩:cut_of_meat 🥓:bacon 🍔:hamburger
🍟:fries 🍕:pizza 🌭:hotdog 🥪:sandwich 🌮:taco 🌯:burrito 🫔:tamale 🧆:falafel 🥚:egg 🍳:fried_egg 🍲:stew 🫕:fondue
🥗:green_salad 🍿:popcorn 🧈:butter 🧂:salt 🥫:canned_food 🍱:bento 🍙:rice_ball 🍚:rice 🍛:curry 🍜:ramen
🍝:spaghetti 🍢:oden 🍣:sushi 🍥:fish_cake 🥮:moon_cake 🍡:dango 🥟:dumpling 🦀:crab 🦞:lobster 🦐:shrimp 🦑:squid
🦪:oyster 🍦:icecream 🍧:shaved_ice 🍨:ice_cream 🍩:doughnut 🍪:cookie 🎂:birthday 🍰:cake 🧁:cupcake 🥧:pie 🍬:candy
🍭:lollipop 🍮:custard 🍯:honey_pot 🍼:baby_bottle 🥛:milk_glass ☕:coffee 🫖:teapot 🍵:tea 🍶:sake 🍾:champagne
🍷:wine_glass 🍸:cocktail 🍺:beer 🍻:beers 🧋:bubble_tea 🧉:mate 🧊:ice_cube 🥢:chopsticks 🥄:spoon 🔪:hocho,knife
🫙:jar 🏺:amphora 🌍:earth_africa 🌎:earth_americas 🌏:earth_asia 🗺️:world_map 🗾:japan 🧭:compass ⛰️:mountain
🌋:volcano 🗻:mount_fuji 🏕️:camping 🏜️:desert 🏟️:stadium 🧱:bricks 🪨:rock 🪵:wood 🛖:hut 🏘️:houses 🏠:house
🏢:office 🏣:post_office 🏥:hospital 🏦:bank 🏨:hotel 🏫:school 🏭:factory 💒:wedding 🗼:tokyo_tower ⛲:fountain ⛺:tent
🌁:foggy 🏙️:cityscape 🌅:sunrise 🌆:city_sunset ♨️:hotsprings 💈:barber 🎪:circus_tent 🚆:train2 🚇:metro
🚈:light_rail 🚉:station 🚊:tram 🚋:train 🚌:bus 🚎:trolleybus 🚐:minibus 🚑:ambulance 🚒:fire_engine 🚕:taxi 🚗:car
🚚:truck 🚜:tractor 🏍️:motorcycle 🚲:bike 🛹:skateboard 🚏:busstop 🛣️:motorway 🛢️:oil_drum ⛽:fuelpump 🛞:wheel
🚨:rotating_light 🛑:stop_sign 🚧:construction ⚓:anchor 🛟:ring_buoy ⛵:boat,sailboat 🛶:canoe 🚤:speedboat ⛴️:ferry
🛥️:motor_boat 🚢:ship ✈️:airplane 🪂:parachute 💺:seat 🚁:helicopter 🛰️:artificial_satellite 🚀:rocket 🧳:luggage
⌛:hourglass ⏳:hourglass_flowing_sand ⌚:watch ⏰:alarm_clock ⏱️:stopwatch ⏲️:timer_clock 🌑:new_moon 🌔:moon
🌕:full_moon 🌡️:thermometer ☀️:sunny 🪐:ringed_planet ⭐:star 🌟:star2 🌠:stars 🌌:milky_way ☁️:cloud 🌪️:tornado
🌫️:fog 🌬️:wind_face 🌀:cyclone 🌈:rainbow ☔:umbrella ⚡:zap ❄️:snowflake ⛄:snowman ☄️:comet 🔥:fire 💧:droplet
🌊:ocean 🎄:christmas_tree 🎆:fireworks 🎇:sparkler 🧨:firecracker ✨:sparkles 🎈:balloon 🎉:tada 🎍:bamboo 🎎:dolls
🎏:flags 🎐:wind_chime 🎑:rice_scene 🎀:ribbon 🎁:gift 🎟️:tickets 🎫:ticket 🏆:trophy ⚽:soccer ⚾:baseball 🥎:softball
🏀:basketball 🏐:volleyball 🏈:football 🎾:tennis 🥏:flying_disc 🎳:bowling 🏒:ice_hockey 🥍:lacrosse 🏓:ping_pong
🏸:badminton 🥅:goal_net ⛳:golf ⛸️:ice_skate 🤿:diving_mask 🎿:ski 🛷:sled 🎯:dart 🪀:yo_yo 🪁:kite 🎱:8ball
🪄:magic_wand 🎮:video_game 🕹️:joystick 🎲:game_die 🧩:jigsaw 🧸:teddy_bear 🪅:pinata 🪩:mirror_ball ♠️:spades
♥️:hearts ♦️:diamonds ♣️:clubs ♟️:chess_pawn 🃏:black_joker 🀄:mahjong 🎨:art 🧵:thread 🧶:yarn 🪢:knot 👓:eyeglasses
🥽:goggles 🥼:lab_coat 🦺:safety_vest 👔:necktie 👕:shirt,tshirt 👖:jeans 🧣:scarf 🧤:gloves 🧥:coat 🧦:socks 👗:dress
👘:kimono 🥻:sari 🩲:swim_brief 🩳:shorts 👛:purse 👜:handbag 👝:pouch 🛍️:shopping 👞:shoe 🥾:hiking_boot
👠:high_heel 👡:sandal 👢:boot 🪮:hair_pick 👑:crown 🎩:tophat 🎓:mortar_board 🧢:billed_cap 💄:lipstick 💍:ring
💎:gem 🔇:mute 🔈:speaker 🔉:sound 🔊:loud_sound 📢:loudspeaker 📣:mega 📯:postal_horn 🔔:bell 🔕:no_bell 🎶:notes
🎤:microphone 🎧:headphones 📻:radio 🎷:saxophone 🪗:accordion 🎸:guitar 🎺:trumpet 🎻:violin 🪕:banjo 🥁:drum
🪘:long_drum 🪇:maracas 🪈:flute 📱:iphone 📲:calling ☎️:phone,telephone 📟:pager 📠:fax 🔋:battery 🔌:electric_plug
💻:computer 🖥️:desktop_computer 🖨️:printer ⌨️:keyboard 🖱️:computer_mouse 🖲️:trackball 💽:minidisc 💾:floppy_disk
💿:cd 📀:dvd 🧮:abacus 🎞️:film_strip 🎬:clapper 📺:tv 📷:camera 📼:vhs 🔍:mag 🔎:mag_right 🕯️:candle 💡:bulb
🔦:flashlight 🪔:diya_lamp 📕:closed_book 📖:book,open_book 📗:green_book 📘:blue_book 📙:orange_book 📚:books
📓:notebook 📒:ledger 📜:scroll 📰:newspaper 🔖:bookmark 🏷️:label 💰:moneybag 🪙:coin 💴:yen 💵:dollar 💶:euro
💷:pound 🧾:receipt 💹:chart ✉️:envelope 📧:email,e-mail 📤:outbox_tray 📥:inbox_tray 📦:package 📫:mailbox 📮:postbox
✏️:pencil2 ✒️:black_nib 🖊️:pen 🖌️:paintbrush 🖍️:crayon 📝:memo,pencil 💼:briefcase 📁:file_folder
📂:open_file_folder 🗂️:card_index_dividers 📅:date 📆:calendar 📇:card_index 📈:chart_with_upwards_trend
📉:chart_with_downwards_trend 📊:bar_chart 📋:clipboard 📌:pushpin 📎:paperclip 🖇️:paperclips 📏:straight_ruler
📐:triangular_ruler ✂️:scissors 🗑️:wastebasket 🔒:lock 🔓:unlock 🔑:key 🗝️:old_key 🔨:hammer 🪓:axe ⛏️:pick
🛠️:hammer_and_wrench 🗡️:dagger 💣:bomb 🪃:boomerang 🛡️:shield 🔧:wrench 🪛:screwdriver ⚙️:gear 🗜️:clamp
⚖️:balance_scale 🔗:link ⛓️:chains 🪝:hook 🧰:toolbox 🧲:magnet 🪜:ladder ⚗️:alembic 🧪:test_tube 🧫:petri_dish 🧬:dna
🔬:microscope 🔭:telescope 📡:satellite 💉:syringe 💊:pill 🩼:crutch 🩺:stethoscope 🩻:x_ray 🚪:door 🛗:elevator
🪞:mirror 🪟:window 🛏️:bed 🪑:chair 🚽:toilet 🪠:plunger 🚿:shower 🛁:bathtub 🪤:mouse_trap 🪒:razor 🧷:safety_pin
🧹:broom 🧺:basket 🪣:bucket 🧼:soap 🫧:bubbles 🪥:toothbrush 🧽:sponge 🪦:headstone ⚱️:funeral_urn 🪬:hamsa 🗿:moyai
🪧:placard ♿:wheelchair 🚻:restroom ⚠️:warning ⛔:no_entry 🚭:no_smoking ☢️:radioactive ☣️:biohazard ⬆️:arrow_up
➡️:arrow_right ⬇️:arrow_down ⬅️:arrow_left 🔄:arrows_counterclockwise ⚛️:atom_symbol ☯️:yin_yang 🔁:repeat
🔂:repeat_one ⏪:rewind 🛜:wireless ♀️:female_sign ♂️:male_sign ➕:heavy_plus_sign ➖:heavy_minus_sign ♾️:infinity
‼️:bangbang ⁉️:interrobang ❓:question ❗:exclamation ♻️:recycle ⭕:o ✅:white_check_mark ✔️:heavy_check_mark ❌:x ➿:loop
❇️:sparkle ©️:copyright ®️:registered ™️:tm 🆒:cool 🆓:free ℹ️:information_source 🆕:new 🆗:ok 🆘:sos 🆙:up
🔴:red_circle 🟠:orange_circle 🟡:yellow_circle 🟢:green_circle 🟣:purple_circle 🟥:red_square 🟦:blue_square
`;
