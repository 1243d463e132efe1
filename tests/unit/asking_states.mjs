// The words of predictions and quizzes, and what the browser keeps of them; run by test_asking.py, which prepares
// asking.mjs. Each line printed is one case that failed.
const { marked, fitting, typed, verdict, judged, tally, standing, recall, keep, watchKept } = await import(process.argv[2]);

const failures = [];
const check = (name, found, wanted) => {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) failures.push(`${name}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
};
const plain = (text) => text.replaceAll("\u00a0", " ");

// ---- markup: code and emphasis, and nothing else
for (const [text, wanted] of [
  ["`a * b * c` and *one*", "<code>a * b * c</code> and <em>one</em>"],
  ["<img src=x onerror=alert(1)>", "&#60;img src=x onerror=alert(1)&#62;"],
  ["`<b>&\"'`", "<code>&#60;b&#62;&#38;&#34;&#39;</code>"],
  [50, "50"],
]) check(`marked ${text}`, marked(text), wanted);

// ---- numbers and choices
const NUMBER = { low: 0, high: 100, unit: "%", digits: 0, near: 5 }, CHOICE = { options: ["20", "50", "all of them"], unit: "" };
for (const [text, bad, wanted] of [
  ["70", false, { value: 70 }], [" 0 ", false, { value: 0 }], ["1e1", false, { value: 10 }], ["", false, { value: null }],
  ["", true, { problem: "Please type a number from 0 to 100." }], ["101", false, { problem: "Please type a number from 0 to 100." }],
  ["-1", false, { problem: "Please type a number from 0 to 100." }], ["many", false, { problem: "Please type a number from 0 to 100." }],
]) check(`typed ${text}`, typed(NUMBER, text, bad), wanted);
for (const [asked, value, wanted] of [
  [NUMBER, 70, 70], [NUMBER, 700, null], [NUMBER, "70", null], [NUMBER, null, null], [NUMBER, { a: 1 }, null],
  [CHOICE, "50", "50"], [CHOICE, "51", null], [CHOICE, 50, null],
]) check(`fitting ${JSON.stringify(value)}`, fitting(asked, value), wanted);

const found = { ...NUMBER, measured: 82, shown: "82" };
for (const [asked, value, wanted] of [
  [found, 70, "You said 70 %, it was 82 %: 12 points more than you thought."],
  [found, 90.5, "You said 90.5 %, it was 82 %: 9 points less than you thought."],
  [found, 78, "You said 78 %, it was 82 %: well predicted."],
  [found, null, "It was 82 %. You have not said what you expect: the question stands at the start of the chapter."],
  [{ ...found, unit: "points", measured: 4.2, shown: "4.2", digits: 1, near: 0 }, 1, "You said 1 point, it was 4.2 points: 3.2 points more than you thought."],
  [{ ...found, near: 0 }, 81, "You said 81 %, it was 82 %: 1 point more than you thought."],
  [{ ...found, unit: "" }, 70, "You said 70, it was 82: 12 more than you thought."],
  [{ ...CHOICE, shown: "50" }, "50", "You said “50”, and so it was."],
  [{ ...CHOICE, shown: "50" }, "all of them", "You said “all of them”, it was “50”."],
  [{ options: [], shown: "3", unit: "" }, null, "It was 3. You have not said what you expect: the question stands at the start of the chapter."],
]) check(`verdict ${value}`, plain(verdict(asked, value)), wanted);

// ---- quizzes
check("right", judged({ right: true, why: "So." }), "✓ Right. So.");
check("wrong", judged({ right: false, why: "No." }), "✗ Not so. No.");
check("tally", [tally(2, 6), tally(6, 6)], ["2 of 6 answered rightly so far.", "All 6 answered rightly."]);
const QUESTIONS = [{ ask: "A?", answers: [{ text: "x" }, { text: "y" }] }, { ask: "B?", answers: [{ text: "x" }, { text: "z" }] }];
check("nothing kept", standing(QUESTIONS, null), [-1, -1]);
check("kept", standing(QUESTIONS, { "B?": "z", "A?": "no longer offered", "C?": "x" }), [-1, 1]);

// ---- what the browser keeps: where it may, where it may not, and where it is full
class Window extends EventTarget {}
for (const place of ["open", "closed", "full"]) {
  const stored = new Map();
  globalThis.tlKept.clear();
  globalThis.window = new Window();
  globalThis.localStorage = place === "closed" ? new Proxy({}, { get() { throw new Error("not allowed"); } }) : {
    getItem: (key) => stored.get(key) ?? null,
    setItem: (key, text) => { if (place === "full") throw new Error("full"); stored.set(key, text); },
    removeItem: (key) => { stored.delete(key); },
  };
  const heard = [], end = watchKept("a", () => heard.push(recall("a")));
  check(`${place}: nothing yet`, recall("a"), null);
  keep("a", 70);
  keep("b", "x");
  check(`${place}: kept`, [recall("a"), recall("b")], [70, "x"]);
  check(`${place}: on the disk`, [...stored], place === "open" ? [["a", "70"], ["b", '"x"']] : []);
  keep("a", null);
  check(`${place}: forgotten`, [recall("a"), heard], [null, [70, null]]);
  if (place === "open") {
    stored.set("a", "{broken");
    check("broken", recall("a"), null);
    stored.set("a", "80");
    window.dispatchEvent(Object.assign(new Event("storage"), { key: "a" }));
    window.dispatchEvent(Object.assign(new Event("storage"), { key: "b" }));
    check("another window", heard, [70, null, 80]);
  }
  end();
  keep("a", 1);
  check(`${place}: no longer told`, heard.includes(1), false);
}

console.log(failures.join("\n"));
process.exit(failures.length ? 1 : 0);
