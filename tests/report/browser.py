"""A headless browser, driven over the WebDriver protocol with nothing but the standard library."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager

MISSING = not (shutil.which("chromedriver") and shutil.which("chromium"))
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element, by the standard


class Browser:
    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"]
        options = {"args": arguments, "binary": shutil.which("chromium")}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = self.send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.address += f"/session/{answer['sessionId']}"

    def send(self, method, path, content=None):
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.address + path, data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, address):
        self.send("POST", "/url", {"url": address})

    def run(self, script):
        return self.send("POST", "/execute/sync", {"script": script, "args": []})

    def wait(self, script, seconds=20):
        until = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < until, f"never true: {script}; {self.messages()}"
            time.sleep(0.05)

    def find(self, css, place=0):
        found = self.send("POST", "/elements", {"using": "css selector", "value": css})
        return found[place][ELEMENT]

    def click(self, css, place=0):
        self.send("POST", f"/element/{self.find(css, place)}/click", {})

    def hover(self, css, place=0, across=0, down=0):
        move = {"type": "pointerMove", "duration": 0, "x": across, "y": down}
        move["origin"] = {ELEMENT: self.find(css, place)}
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}}
        self.send("POST", "/actions", {"actions": [mouse | {"actions": [move]}]})

    def press(self, key):
        taps = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.send("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": taps}]})

    def messages(self):
        return [x["message"] for x in self.send("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.send("GET", "/screenshot")))


@contextmanager
def browser():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(["chromedriver", f"--port={port}", "--silent"])
    try:
        _wait(port)
        opened = Browser(port)
        yield opened
        opened.send("DELETE", "")
    finally:
        driver.terminate()
        driver.wait()


def _wait(port):
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("chromedriver does not answer")
