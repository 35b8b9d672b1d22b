"""English sentences around what is asked for: frames of commands, of going back, and of what is no command.

`EDITS` has for every kind of edit the one wording that the model answers with, in words that the editor was
trained on (edit/phrases.py), and the many wordings that people use.
"""

DRAW = ("create", "draw", "paint", "make", "generate", "draw me", "paint me", "make me", "show me", "design", "produce", "give me")
WISH = ("i want", "i would like", "i'd like", "i want to see", "i'd love", "i need", "i would like to see", "let's have", "let me see",
        "let's see", "how about", "imagine", "we need", "i'd like you to draw", "i want you to paint", "let's draw", "let's make")
PICTURE = ("a picture of", "an image of", "a drawing of", "a painting of", "a new picture of", "a picture with", "an image with",
           "a new image of", "an illustration of", "a picture that shows", "a scene with", "a picture showing", "a new image with",
           "an image showing")
OPENERS = ("start a new picture with", "begin a new image with", "start over with", "start again with", "new picture", "new image",
           "start fresh with", "a new one with", "picture of", "image of")

EDITS = {
    "recolour": ("make {it} {to}", (
        "make {it} {to}", "turn {it} {to}", "change {it} to {to}", "paint {it} {to}", "colour {it} {to}", "{it} should be {to}",
        "i want {it} to be {to}", "i'd like {it} to be {to}", "give {it} a {to} colour", "dye {it} {to}",
        "change the colour of {it} to {to}",
        "let {it} be {to}", "recolour {it} in {to}", "make {it} {to} instead", "set the colour of {it} to {to}", "could {it} be {to}",
        "make {it} look {to}", "i would like {it} in {to}", "can {it} be {to}", "{it} needs to be {to}", "let's make {it} {to}")),
    "swap": ("replace {it} with {new}", (
        "replace {it} with {new}", "replace {it} by {new}", "swap {it} for {new}", "swap {it} with {new}", "turn {it} into {new}",
        "change {it} into {new}", "change {it} to {new}", "put {new} in place of {it}", "exchange {it} for {new}", "let {it} become {new}",
        "i want {new} instead of {it}", "draw {new} where {it} is", "make {new} out of {it}", "substitute {new} for {it}",
        "convert {it} into {new}", "i'd rather have {new} than {it}", "there should be {new} instead of {it}",
        "transform {it} into {new}")),
    "add": ("add {new}", (
        "add {new}", "add {new} to the picture", "add {new} to it", "put {new} in the picture", "put {new} into it", "i want {new} too",
        "also draw {new}", "give me {new} as well", "insert {new}", "place {new} in the scene", "include {new}", "now add {new} as well",
        "i would like {new} as well", "bring in {new}", "add {new} to the image", "there should be {new} too", "let there be {new} as well",
        "i also want {new}", "draw {new} in there too", "let's add {new}", "add in {new}")),
    "add at": ("add {new} {where}", (
        "put {new} {where}", "add {new} {where}", "place {new} {where}", "i want {new} {where} too", "set {new} {where}",
        "insert {new} {where}", "{where} add {new}", "also draw {new} {where}", "include {new} {where}", "now put {new} {where}",
        "i'd like {new} {where} as well", "let there be {new} {where} too", "{where} put {new}", "let's put {new} {where}")),
    "remove": ("remove {it}", (
        "remove {it}", "delete {it}", "take {it} away", "take away {it}", "get rid of {it}", "erase {it}", "take {it} out", "take out {it}",
        "without {it}", "i don't want {it}", "drop {it}", "{it} should go", "make {it} disappear", "clear {it} away", "lose {it}",
        "remove {it} from the picture", "i do not want {it} any more", "let {it} vanish", "wipe {it} away", "leave out {it}",
        "i don't like {it} take it out", "no more {it}", "delete {it} from the image", "i don't want to see {it}")),
    "time": ("make it {hour}", (
        "make it {hour}", "turn it into {hour}", "change the time to {hour}", "it should be {hour}", "let it be {hour}",
        "i want it to be {hour}",
        "switch to {hour}", "change it to {hour}", "make the time {hour}", "change the time of day to {hour}", "make the picture {hour}",
        "i'd like it to be {hour}", "set the time to {hour}", "can it be {hour}", "let's make it {hour}")),
    "when": ("show it {when}", (
        "show it {when}", "i want it {when}", "set it {when}", "put it {when}", "draw it {when}", "have it {when}", "let us see it {when}",
        "how does it look {when}", "what would it look like {when}", "i'd like to see it {when}", "show me the same {when}",
        "the same thing {when}", "the same picture {when}")),
    "spot": ("put {it} {spot}", (
        "put {it} {spot}", "place {it} {spot}", "move {it} {spot}", "set {it} {spot}", "show {it} {spot}", "i want {it} {spot}",
        "let {it} be {spot}", "{it} should be {spot}", "draw {it} {spot}", "i would like {it} {spot}", "have {it} {spot}",
        "take {it} and put it {spot}", "i'd like to see {it} {spot}")),
    "ground": ("change the background to {ground}", (
        "change the background to {ground}", "replace the background with {ground}", "make the background {ground}",
        "change the place to {ground}", "turn the background into {ground}", "change the setting to {ground}", "bring it to {ground}",
        "swap the background for {ground}", "use {ground} as the background", "i want {ground} in the background", "move it to {ground}",
        "set the background to {ground}", "let the background be {ground}", "i'd like {ground} as a background")),
    "plain": ("make the background {to}", (
        "make the background {to}", "change the background to {to}", "put it on a {to} background", "use a {to} background",
        "turn the background {to}", "paint the background {to}", "the background should be {to}", "make the background plain {to}",
        "give it a {to} background", "set it on a {to} background", "make everything behind it {to}", "i would like a {to} background",
        "have the background in {to}", "let the background be {to}", "colour the background {to}", "i want the background to be {to}",
        "change the background colour to {to}", "set the background to {to}", "could the background be {to}",
        "switch the background to {to}")),
    "work": ("turn it into {work}", (
        "turn it into {work}", "make it {work}", "convert it to {work}", "make it look like {work}", "make this {work}",
        "turn the picture into {work}", "change it into {work}", "transform it into {work}", "let it look like {work}",
        "i want it to be {work}", "it should look like {work}", "turn this into {work}")),
    "after": ("draw it {after}", (
        "redraw it {after}", "draw it {after}", "show it {after}", "i want it {after}", "render it {after}", "make it {after}",
        "i would like it {after}", "have it {after}", "paint it {after}", "do it {after}", "the same {after}", "show me the same {after}")),
    "tag": ("change the style to {tag}", (
        "change the style to {tag}", "switch the style to {tag}", "use the {tag} style", "switch to the {tag} style",
        "set the style to {tag}",
        "make the style {tag}", "i want the {tag} style", "use {tag} as the style", "the style should be {tag}",
        "change to the {tag} style")),
}
# wordings that name no field, and what is said to the editor for them
DEEDS = {
    "let the sun come up": "make it day", "make it a sunny day": "make it a sunny day", "make it bright": "make it bright",
    "show the day sky": "make it day", "let the day begin": "make it day", "turn the lights on": "make it day",
    "bring back the daylight": "make it day",
    "let the sun go down": "make it sunset", "give it a sunset sky": "give it a sunset sky", "let the evening come": "make it evening",
    "let the sun set": "make it sunset", "make the sun go down": "make it sunset", "make it a sunset": "make it sunset",
    "make the sky dark": "make the sky dark", "give it a night sky": "give it a night sky", "let the night fall": "make it night",
    "turn off the light": "make it night", "let it get dark": "make it dark",
    "make it a night scene": "make it night", "i want a night scene": "make it night", "make it a winter picture": "put it in the snow",
    "let it snow": "put it in the snow", "make it winter": "put it in the snow", "bring on the night": "make it night",
}
POLITE_BEFORE = ("please", "please", "can you", "could you", "can you please", "could you please", "would you", "would you please",
                 "now please", "will you", "i'd like you to", "i want you to", "could you maybe", "can you now", "go ahead and")
FILLERS = ("okay", "now", "um", "uh", "well", "so", "hey", "then", "alright", "okay so", "and", "and now", "hello", "okay now", "next",
           "right")
POLITE_AFTER = ("please", "please", "now", "thanks", "thank you", "for me", "for me please", "if you can", "would you", "if possible",
                "thank you very much")

BACK = ("go back", "take me back", "return", "go", "bring me back", "switch back", "get me back", "let's go back", "i want to go back",
        "i'd like to go back", "jump back", "can we go back", "revert", "we should go back", "change back")
EARLIER = ("the previous {}", "the last {}", "the {} before", "the earlier {}", "the old {}", "the {} we had before", "the former {}",
           "the {} from before", "my last {}", "the one before", "the {} before this one", "the previous one", "what it was before",
           "how it was", "how it looked before")
IMAGE = ("picture", "image", "version", "step", "drawing", "state")
UNDOING = ("undo", "undo", "revert", "reverse", "take back", "cancel", "roll back", "i want to undo", "let's undo", "scratch")
DONE = ("that", "it", "this", "the last change", "the last edit", "the last step", "my last command", "that change", "that last one",
        "the latest change", "what you just did", "the last thing you did", "the change", "that edit", "the last one",
        "the previous change",
        "the previous edit", "the last action")
RESTORE = ("restore", "bring back", "show me", "give me back", "show", "show again", "give me", "let me see", "put back", "i want",
           "i'd like")
UNDO_WHOLE = ("undo", "go back", "back", "step back", "one step back", "go one step back", "go back one step", "back again",
              "take a step back",
              "no go back", "that was wrong undo it", "i liked it better before", "it was better before", "put it back the way it was",
              "make it as it was", "oops undo", "oops go back", "wrong undo", "no not that undo it", "i don't like it go back",
              "never mind undo that",
              "forget the last change", "that was a mistake", "i made a mistake go back", "change it back", "turn it back",
              "put everything back",
              "revert", "undo please", "go back please", "the one before was better", "i preferred the one before", "not like that go back")

NONE_WHOLE = (
    "what time is it", "how are you", "who are you", "what is your name", "what can you do", "tell me a joke", "thank you", "thanks a lot",
    "hello", "hi there", "good morning", "good evening", "good night", "goodbye", "see you later", "yes", "no", "okay", "maybe",
    "never mind",
    "i don't know", "that is nice", "very nice", "well done", "i like it", "i love it", "how beautiful", "that looks great", "stop", "wait",
    "wait a moment", "be quiet", "help", "i need help", "are you there", "can you hear me", "do you understand me", "where are you from",
    "how old are you", "what do you think", "what is this", "what does it show", "is it finished", "are you ready", "how long does it take",
    "who made you", "do you speak finnish", "do you speak english", "tell me a story", "sing me a song", "what day is it",
    "what day is it today",
    "i am hungry", "i am tired", "it is raining", "i have to go", "let's have lunch", "the phone is ringing", "where are my keys",
    "what's up",
    "one two three", "testing testing", "this is a test", "that's all", "nothing", "not now", "of course", "excuse me", "i am sorry",
    "what did you say", "say that again", "i was talking to someone else", "just a second", "let me think", "hmm", "wow", "oh no", "great",
    "fine",
    "how does this work", "is anybody there", "come here", "sit down", "open the door", "close the window", "the coffee is ready",
    "where is the exit")
NONE_FRAMES = (
    "what is the weather like {day}", "will it rain {day}", "what are you doing {day}", "is it {adjective} outside {day}", "play {music}",
    "play {music} in the {room}", "turn on the lights in the {room}", "turn off the television in the {room}", "call {person}",
    "send a message to {person}", "tell {person} that i am late", "set an alarm for {number}", "wake me up at {number}",
    "set a timer for {number} minutes",
    "what is {number} plus {number}", "how many people live in {city}", "how far is it to {city}", "when is the next train to {city}",
    "what is the capital of {country}", "have you been to {city}", "remind me to call {person} {day}", "do you like {plural}",
    "i like {plural}",
    "why are {plural} so {adjective}", "what do {plural} eat", "how big is a {noun}", "what colour is the {noun}", "where is the {noun}",
    "is the {noun} {colour}", "the {noun} looks {adjective}", "i like the {noun}", "that is a {adjective} {noun}", "do you see the {noun}",
    "my {noun} is {colour}", "i have a {colour} {noun} at home", "what is a {noun}", "how do you spell {noun}",
    "have you ever seen a {colour} {noun}",
    "who painted the {noun}", "why is the {noun} {colour}", "i bought a {noun} {day}", "how old is the {noun}",
    "what is your favourite colour",
    "i saw a {noun} in {city} {day}", "read me the news of {day}", "how is {person}", "where does {person} live",
    "what did {person} say {day}",
    "how much does a {noun} cost", "how many {plural} are there", "is there a {noun} in the picture", "my favourite colour is {colour}",
    "are {plural} {adjective}", "what is for dinner {day}", "book a table for {number}", "let's meet {day} at {number}",
    "buy {number} {plural}")
NONE_WORDS = {
    "day": ("today", "tomorrow", "tonight", "on monday", "on friday", "this week", "yesterday", "this morning", "next week", "on sunday"),
    "adjective": ("nice", "big", "small", "cold", "warm", "strange", "funny", "beautiful", "expensive", "old", "new", "good"),
    "music": ("some music", "a song", "the radio", "some jazz", "my favourite song", "something quiet", "the next song", "the piano"),
    "room": ("kitchen", "living room", "bedroom", "hall", "bathroom", "office"),
    "person": ("my mother", "my father", "anna", "peter", "my boss", "my sister", "the doctor", "a friend", "my brother", "my teacher"),
    "number": ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve", "twenty"),
    "city": ("london", "paris", "helsinki", "new york", "berlin", "rome", "tampere", "turku", "oulu"),
    "country": ("finland", "france", "italy", "spain", "sweden", "japan", "germany", "norway"),
    "plural": ("cats", "fish", "trees", "flowers", "boats", "houses", "clouds", "mountains", "stars", "dogs", "books", "cars", "apples"),
}
# what a voice route is asked beyond the nano world: copied into the prompt as it is
BEYOND = (
    "dragon", "dog", "horse", "bird", "castle", "car", "train", "robot", "bridge", "lion", "elephant", "apple", "banana", "bicycle",
    "rabbit",
    "bear", "owl", "fox", "tower", "church", "lighthouse", "wizard", "knight", "clock", "chair", "table", "lamp", "guitar", "piano",
    "rocket", "spaceship", "planet", "volcano", "waterfall", "river", "forest", "island", "palm tree", "snowman", "penguin", "whale",
    "shark",
    "dolphin", "turtle", "frog", "butterfly", "bee", "spider", "mouse", "cow", "pig", "sheep", "chicken", "duck", "swan", "tiger", "monkey",
    "camel", "giraffe", "zebra", "truck", "bus", "airplane", "helicopter", "balloon", "kite", "umbrella", "hat", "shoe", "cake", "cup",
    "teapot",
    "book", "candle", "crown", "sword", "ghost", "witch", "pirate", "princess", "queen", "king", "mermaid", "statue", "fountain",
    "windmill",
    "barn", "tent", "door", "window", "key", "ring", "diamond", "mushroom", "cactus", "pumpkin", "strawberry", "lemon", "snake", "wolf",
    "deer")
