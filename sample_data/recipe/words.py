"""The world of the demo: its objects, colours, places and backgrounds, and the words for them."""

#: Class name -> (plural, sprites by the short names of the emoji set).
CLASSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "dog": ("dogs", ("dog2", "guide_dog")),
    "cat": ("cats", ("cat2", "black_cat")),
    "horse": ("horses", ("racehorse",)),
    "cow": ("cows", ("cow2",)),
    "pig": ("pigs", ("pig2",)),
    "sheep": ("sheep", ("sheep",)),
    "elephant": ("elephants", ("elephant",)),
    "zebra": ("zebras", ("zebra_face",)),
    "giraffe": ("giraffes", ("giraffe_face",)),
    "panda": ("pandas", ("panda_face",)),
    "tiger": ("tigers", ("tiger2",)),
    "rabbit": ("rabbits", ("rabbit2",)),
    "monkey": ("monkeys", ("monkey",)),
    "rooster": ("roosters", ("rooster",)),
    "duck": ("ducks", ("duck",)),
    "penguin": ("penguins", ("penguin",)),
    "owl": ("owls", ("owl",)),
    "frog": ("frogs", ("frog",)),
    "turtle": ("turtles", ("turtle",)),
    "fish": ("fish", ("fish", "tropical_fish")),
    "whale": ("whales", ("whale2",)),
    "butterfly": ("butterflies", ("butterfly",)),
    "car": ("cars", ("car",)),
    "bus": ("buses", ("bus", "trolleybus")),
    "train": ("trains", ("steam_locomotive", "train2")),
    "truck": ("trucks", ("truck", "articulated_lorry")),
    "bicycle": ("bicycles", ("bike",)),
    "motorcycle": ("motorcycles", ("racing_motorcycle",)),
    "airplane": ("airplanes", ("airplane", "small_airplane")),
    "helicopter": ("helicopters", ("helicopter",)),
    "rocket": ("rockets", ("rocket",)),
    "boat": ("boats", ("boat",)),
    "tractor": ("tractors", ("tractor",)),
    "apple": ("apples", ("apple", "green_apple")),
    "banana": ("bananas", ("banana",)),
    "strawberry": ("strawberries", ("strawberry",)),
    "pizza": ("pizzas", ("pizza",)),
    "burger": ("burgers", ("hamburger",)),
    "cake": ("cakes", ("cake", "birthday")),
    "donut": ("donuts", ("doughnut",)),
    "carrot": ("carrots", ("carrot",)),
    "tree": ("trees", ("evergreen_tree", "deciduous_tree")),
    "palm": ("palms", ("palm_tree",)),
    "tulip": ("tulips", ("tulip",)),
    "sunflower": ("sunflowers", ("sunflower",)),
    "cactus": ("cacti", ("cactus",)),
    "mushroom": ("mushrooms", ("mushroom",)),
    "house": ("houses", ("house", "house_with_garden")),
    "castle": ("castles", ("european_castle",)),
    "tent": ("tents", ("tent",)),
    "man": ("men", ("man", "bearded_person")),
    "woman": ("women", ("woman", "red_haired_woman")),
    "baby": ("babies", ("baby",)),
    "book": ("books", ("closed_book",)),
    "clock": ("clocks", ("alarm_clock", "clock3")),
    "chair": ("chairs", ("chair",)),
    "umbrella": ("umbrellas", ("umbrella",)),
    "guitar": ("guitars", ("guitar",)),
    "balloon": ("balloons", ("balloon",)),
    "key": ("keys", ("key",)),
    "crown": ("crowns", ("crown",)),
    "gift": ("gifts", ("gift",)),
    "camera": ("cameras", ("camera",)),
    "shirt": ("shirts", ("shirt",)),
}
NAMES = tuple(CLASSES)

#: Classes that come in colours; the others keep their own.
TINTED = frozenset({"car", "book", "umbrella", "balloon", "gift", "shirt", "tulip"})
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 30, 30),
    "orange": (240, 130, 20),
    "yellow": (240, 215, 30),
    "green": (40, 160, 50),
    "blue": (40, 90, 225),
    "purple": (130, 50, 180),
    "pink": (250, 130, 190),
}
COLOUR_NAMES = tuple(COLOURS)

NUMBERS = ("one", "two", "three")
SIZES = ("small", "normal", "large")

#: Place on the 3 x 3 grid, row by row -> its phrase.
PLACES = (
    "in the top left corner",
    "at the top",
    "in the top right corner",
    "on the left",
    "in the middle",
    "on the right",
    "in the bottom left corner",
    "at the bottom",
    "in the bottom right corner",
)

#: Background -> its phrase; drawn by ``backgrounds.py``.
SCENES: dict[str, str] = {
    "grass": "in a grassy field",
    "sea": "on the open sea",
    "beach": "at the beach",
    "road": "on a road",
    "city": "in a city at night",
    "stars": "under a starry night sky",
    "snow": "in the snow",
    "desert": "in the desert",
    "table": "on a wooden table",
    "floor": "on a checkered floor",
    "sunset": "in front of a sunset",
    "forest": "in a forest",
    "mountains": "in the mountains",
    "underwater": "under water",
    "clouds": "in a cloudy sky",
    "bricks": "in front of a brick wall",
    "stripes": "in front of a striped wall",
    "dots": "in front of a dotted wall",
    "white": "on a white background",
    "grey": "on a grey background",
    "blue": "on a blue background",
    "green": "on a green background",
    "yellow": "on a yellow background",
    "pink": "on a pink background",
}
SCENE_NAMES = tuple(SCENES)


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
