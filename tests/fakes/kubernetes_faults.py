"""What goes wrong on the way to the fake API server and back: an answer that is late, lost, or not what was asked for.

A path is one as in a request, without its query.
"""
import contextlib
import json
import threading
import types


class Faults:
    def __init__(self):
        self.faults_lock = threading.Lock()
        self.holds = []  # of held()
        self.breaks = []  # of breaking()
        self.answers = []  # of answering()

    @contextlib.contextmanager
    def held(self, method, path, is_it=lambda body: True, query="", after=False):
        """The first request of this method and path whose body `is_it`, and in whose query `query` is, is on its way until the block
        ends; with `after`, it is what it was answered that is. Gives an Event: it has come."""
        hold = types.SimpleNamespace(wanted=(method, path), is_it=is_it, query=query, after=after, has_come=threading.Event(),
                                     is_over=threading.Event())
        with self.faults_lock:
            self.holds.append(hold)
        try:
            yield hold.has_come
        finally:
            with self.faults_lock:
                if hold in self.holds:
                    self.holds.remove(hold)
            hold.is_over.set()

    def find_hold(self, method, path, query, body, after):
        """It is the finder's alone. None: nothing holds that."""
        with self.faults_lock:
            hold = next((one for one in self.holds if one.wanted == (method, path) and one.after == after and one.query in query
                         and one.is_it(json.loads(body or b"null"))), None)
            if hold is not None:
                self.holds.remove(hold)
            return hold

    @staticmethod
    def wait_for(hold):
        if hold is not None:
            hold.has_come.set()
            hold.is_over.wait()

    @contextlib.contextmanager
    def breaking(self, method, path, after=False):
        """Until the block ends, the connection breaks on which this is asked below `path`; with `after`, what was asked has been done then.
        Gives a list of what was."""
        asked = []
        one = (method, path, after, asked)
        self.breaks.append(one)
        try:
            yield asked
        finally:
            self.breaks.remove(one)

    def is_broken(self, method, path, after):
        """Whether the connection breaks before what is asked is done, or `after` that."""
        for wanted, prefix, is_after, asked in list(self.breaks):
            if method == wanted and path.startswith(prefix) and after == is_after:
                asked.append(path)
                return True
        return False

    @contextlib.contextmanager
    def answering(self, method, path, status, value):
        """The first request of this method and path that comes until the block ends is answered so, and nothing is done."""
        one = (method, path, status, value)
        with self.faults_lock:
            self.answers.append(one)
        try:
            yield
        finally:
            with self.faults_lock:
                if one in self.answers:
                    self.answers.remove(one)

    def prepared_answer(self, method, path):
        """(status, value) of answering(), once; or None."""
        with self.faults_lock:
            found = next((one for one in self.answers if one[:2] == (method, path)), None)
            if found is None:
                return None
            self.answers.remove(found)
            return found[2:]
