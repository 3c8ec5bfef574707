// The page of a run: its graph is zoomed and moved, by buttons, keys and the pointer.
"use strict";
