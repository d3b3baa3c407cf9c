"""Sound texts in many languages and scripts, short and long, with whatever people really write in a caption."""

import numpy as np

from tests.faults.dirty_kinds import Columns

# Who, does what, where: any combination is a sentence.
_PARTS: dict[str, tuple[str, str, str, str]] = {
    "en": (
        "A brown dog|Two children|An old man in a red coat|The woman with the umbrella"
        "|Three cyclists|A grey cat"
        "|My grandmother|A street musician|Some tourists|The tall waiter",
        "runs|waits|is laughing|rests quietly|looks at the camera|jumps high|eats an apple|reads a letter",
        "on the wet beach|in front of the station|near a wooden bridge|under the old trees"
        "|beside a parked lorry"
        "|at the edge of the field|behind the market hall|inside a small kitchen",
        "{0} {1} {2}.",
    ),
    "zh": (
        "一只棕色的狗|两个孩子|穿红色外套的老人|打着雨伞的女人|三个骑自行车的人|一只灰猫|我的奶奶|街头音乐家|几位游客|高个子服务员",
        "在奔跑|在等人|开心地笑着|安静地休息|看着镜头|跳得很高|吃着苹果|读着一封信",
        "湿漉漉的海滩上|车站前面|木桥附近|老树下面|停着的卡车旁边|田野的边缘|菜市场后面|小厨房里",
        "{2}，{0}{1}。",
    ),
    "ar": (
        "كلب بني|طفلان صغيران|رجل عجوز يرتدي معطفا أحمر|المرأة التي تحمل المظلة|ثلاثة دراجين"
        "|قطة رمادية|جدتي العزيزة|موسيقي الشارع",
        "يستريح بهدوء|ينظر إلى الكاميرا|يقفز عاليا|يأكل تفاحة|يقرأ رسالة|يضحك كثيرا",
        "على الشاطئ المبتل|أمام محطة القطار|قرب جسر خشبي|تحت الأشجار القديمة|خلف السوق الكبير|داخل مطبخ صغير",
        "{0} {1} {2}.",
    ),
    "he": (
        "כלב חום|שני ילדים|איש זקן במעיל אדום|האישה עם המטרייה|שלושה רוכבי אופניים|חתול אפור|סבתא שלי|נגן רחוב",
        "רץ מהר|מחכה בשקט|צוחק בקול|מסתכל אל המצלמה|קופץ גבוה|אוכל תפוח|קורא מכתב",
        "על החוף הרטוב|מול תחנת הרכבת|ליד גשר העץ|מתחת לעצים הישנים|מאחורי השוק|בתוך מטבח קטן",
        "{0} {1} {2}.",
    ),
    "hi": (
        "एक भूरा कुत्ता|दो छोटे बच्चे|लाल कोट पहने बूढ़ा आदमी|छाते वाली औरत|तीन साइकिल सवार|एक धूसर बिल्ली|मेरी दादी|सड़क का संगीतकार",
        "दौड़ रहा है|इंतज़ार कर रहा है|हँस रहा है|आराम कर रहा है|कैमरे की ओर देख रहा है|सेब खा रहा है|चिट्ठी पढ़ रहा है",
        "गीले समुद्र तट पर|स्टेशन के सामने|लकड़ी के पुल के पास|पुराने पेड़ों के नीचे|बाज़ार के पीछे|छोटी रसोई में",
        "{0} {2} {1}।",
    ),
    "ru": (
        "Коричневая собака|Двое детей|Старик в красном пальто|Женщина с зонтом"
        "|Трое велосипедистов|Серая кошка|Моя бабушка"
        "|Уличный музыкант",
        "бежит|спокойно отдыхает|смотрит в камеру|высоко прыгает|ест яблоко|читает письмо|громко смеётся",
        "на мокром пляже|перед вокзалом|возле деревянного моста|под старыми деревьями"
        "|за крытым рынком|в маленькой кухне",
        "{0} {1} {2}.",
    ),
    "ja": (
        "茶色い犬|二人の子ども|赤いコートを着たおじいさん|傘をさした女の人|三人のサイクリスト|灰色の猫|私の祖母|路上の音楽家",
        "走っています|静かに休んでいます|カメラを見ています|高く跳んでいます|りんごを食べています|手紙を読んでいます|笑っています",
        "濡れた砂浜で|駅の前で|木の橋のそばで|古い木の下で|市場の裏で|小さな台所で",
        "{0}が{2}{1}。",
    ),
    "ko": (
        "갈색 개 한 마리가|아이 두 명이|빨간 외투를 입은 노인이|우산을 든 여자가"
        "|자전거 타는 사람 셋이|회색 고양이가|우리 할머니가|거리의 음악가가",
        "달리고 있다|조용히 쉬고 있다|카메라를 보고 있다|높이 뛰고 있다|사과를 먹고 있다|편지를 읽고 있다|웃고 있다",
        "젖은 해변에서|기차역 앞에서|나무 다리 근처에서|오래된 나무 아래에서|시장 뒤에서|작은 부엌에서",
        "{0} {2} {1}.",
    ),
    "de": (
        "Ein brauner Hund|Das kleine Mädchen|Der alte Mann im roten Mantel"
        "|Die Frau mit dem Regenschirm|Eine graue Katze"
        "|Meine Großmutter|Ein Straßenmusiker",
        "läuft|wartet geduldig|lacht laut|ruht sich aus|schaut in die Kamera|isst einen Apfel|liest einen Brief",
        "am nassen Strand|vor dem Bahnhof|nahe der Holzbrücke|unter den alten Bäumen|hinter der Markthalle",
        "{2} {1} {0}.",
    ),
    "fr": (
        "Un chien brun|Le vieil homme au manteau rouge|La femme au parapluie|Un chat gris|Ma grand-mère|L'élève étonné",
        "court très vite|attend l'été|se repose à l'ombre|regarde l'appareil photo|mange une pêche|lit une lettre",
        "sur la plage mouillée|devant la gare|près du pont en bois|sous les vieux chênes|derrière le marché",
        "« {0} {1} {2} »",
    ),
    "es": (
        "Un perro marrón|El niño pequeño|El anciano del abrigo rojo|La mujer del paraguas|Un gato gris|Mi abuela",
        "corre|espera sentado|se ríe|descansa a la sombra|mira a la cámara|come una manzana|lee una carta",
        "en la playa mojada|delante de la estación|cerca del puente de madera"
        "|bajo los árboles viejos|detrás del mercado",
        "¡{0} {1} {2}!",
    ),
    "tr": (
        "Kahverengi bir köpek|İki küçük çocuk|Kırmızı paltolu yaşlı adam|Şemsiyeli kadın|Gri bir kedi|Büyükannem",
        "koşuyor|sessizce dinleniyor|kameraya bakıyor|yükseğe zıplıyor|elma yiyor|mektup okuyor|gülüyor",
        "ıslak kumsalda|istasyonun önünde|ahşap köprünün yanında|yaşlı ağaçların altında|pazarın arkasında",
        "{0} {2} {1}.",
    ),
    "el": (
        "Ένας καφέ σκύλος|Το μικρό παιδί|Ο γέρος με το κόκκινο παλτό|Η γυναίκα με την ομπρέλα"
        "|Μια γκρίζα γάτα|Η γιαγιά μου",
        "τρέχει|περιμένει|γελάει δυνατά|ξεκουράζεται ήσυχα|κοιτάζει την κάμερα|τρώει ένα μήλο|διαβάζει ένα γράμμα",
        "στη βρεγμένη παραλία|μπροστά στον σταθμό|κοντά στην ξύλινη γέφυρα|κάτω από τα δέντρα|πίσω από την αγορά",
        "{0} {1} {2}.",
    ),
    "th": (
        "สุนัขสีน้ำตาล|เด็กสองคน|ชายชราใส่เสื้อสีแดง|ผู้หญิงถือร่ม|แมวสีเทา|คุณยายของฉัน",
        "กำลังวิ่ง|กำลังพักผ่อน|มองกล้องถ่ายรูป|กำลังกินแอปเปิล|กำลังอ่านจดหมาย|หัวเราะเสียงดัง",
        "บนชายหาดที่เปียก|หน้าสถานีรถไฟ|ใกล้สะพานไม้|ใต้ต้นไม้ใหญ่|หลังตลาด|ในห้องครัวเล็ก",
        "{0}{1}{2}",
    ),
}
LANGUAGES = tuple(_PARTS)


def sentence(rng: np.random.Generator, lang: str) -> str:
    """One of a few hundred sentences of a language."""
    *parts, pattern = _PARTS[lang]
    chosen = [rng.choice(part.split("|")) for part in parts]
    text = pattern.format(*chosen)
    return text[0].upper() + text[1:]


def paragraph(rng: np.random.Generator, lang: str, num_sentences: int) -> str:
    """Sentences that differ, one after the other; fewer where the language has no more."""
    blank = "" if lang in ("zh", "ja", "th") else " "
    return blank.join(dict.fromkeys(sentence(rng, lang) for _ in range(num_sentences)))


# What people write in captions that a rule made in haste takes for damage.
_PECULIAR = (
    "dog",
    "A cat.",
    "Snow!",
    "beach, 1998",
    "No. 5",
    "IMG of the harbour at 06:30",
    "NEW YORK CITY MARATHON FINISH LINE",
    "photo by Ana: https://example.org/p/1842?size=large",
    'He said "don\'t look" and they all looked.',
    "I <3 my dog",
    "a < b, and b > c, on the blackboard",
    "AT&T store on 5th Ave.",
    "50% off!!! #sale #shoes @marie",
    "C++ on a mug",
    "naïve café façade, Zürich (2019)",
    "🎉🎉🎂",
    "☀\ufe0f 28 °C, no clouds",
    "3 × 4 = 12 in chalk",
    "A man – or a woman? – far away…",
    "the letters A, B and C",
    "a T‑shirt that says “hello”",
    "Nr. 7 / Gleis 2",
    "ok so this is my brother lol",
    "untitled painting by an unknown artist, oil on wood",
    "the letter N and a slash: N/A is printed on the form",
    "Mr. Lorem walks his dog Ipsum",
    "co-op / bus stop sign",
    "Straße 12, 8. Stock",
    "line one\nline two of the poster",
    "ÅNGSTRÖM lab door",
    "Très bien ! Un été à l’île d’Oléron",
    "«Привет!» – написано на стене",
    "“生日快乐” 写在蛋糕上",
    "עמוד 3 מתוך 12",
    "مقهى ٢٤ ساعة",
    "a very very very tall tower",
    "no no no says the sign",
    "bye-bye",
    "a red, red rose",
    "H₂O bottle on a desk",
    "x² + y² = r²",
    "the price is $4.99",
    "tabs\tand spaces on a receipt",
    "fiancée’s résumé",
    "Ça va? Ça va.",
    "İSTANBUL'da ıslak bir gün",
    "👨\u200d👩\u200d👧 at the 🏖\ufe0f",
    "می\u200cخواهم به خانه بروم",
    "𝓗𝓪𝓹𝓹𝔂 birthday cake",
)


def peculiar(rng: np.random.Generator) -> str:
    return str(rng.choice(np.array(_PECULIAR, dtype=object)))


def captions(rng: np.random.Generator) -> list[dict[str, str | None]]:
    """One to five sound captions: mostly one language with its tag, some two languages, some without a tag."""
    what = rng.random()
    if what < 0.1:
        return [{"text": peculiar(rng), "lang": None}]
    lang = str(rng.choice(LANGUAGES))
    if what < 0.14:
        return [{"text": paragraph(rng, lang, 1200 // len(sentence(rng, lang))), "lang": lang}]
    texts = list(dict.fromkeys(sentence(rng, lang) for _ in range(rng.integers(1, 6))))
    found: list[dict[str, str | None]] = [{"text": text, "lang": lang} for text in texts]
    if what < 0.3 and lang != "en":
        found.append({"text": sentence(rng, "en"), "lang": "en"})
    if what > 0.9:
        found = [{**one, "lang": None} for one in found]
    return found


def text_row(rng: np.random.Generator) -> Columns:
    """A row of text alone: a talk and what it was about, or questions with answers."""
    lang = str(rng.choice(LANGUAGES))
    if rng.random() < 0.3:
        asked = [{"question": f"{sentence(rng, lang)[:-1]}?", "answers": [sentence(rng, lang)]} for _ in range(2)]
        return {"qa": asked, "captions": [{"text": paragraph(rng, lang, 2), "lang": lang}]}
    return {"transcript": paragraph(rng, lang, int(rng.integers(3, 9))), "summary": sentence(rng, lang)}
