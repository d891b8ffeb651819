"""Saved results: the only room that opens files for writing.

``files`` the one atomic write · ``tensors`` safetensors with a JSON note · ``tables`` Parquet with the same note ·
``documents`` the note alone · ``folders`` a result of several files · ``outputs`` where results of many pictures go ·
``kinds`` every kind of result · ``notes`` and ``seal`` what is written into every saved file so that a damaged one is
told · ``recipe`` what makes a result: the identity of a run · ``parts`` the finished parts of a run · ``arrays`` what a
part holds besides tables · ``scratch`` a folder for a while · ``stores`` the files of one run in one place, on a disk
or under a URL.
"""
