"""What a study leaves behind, in forms that others read: Parquet tables and Zarr arrays, one file of each per shard.

``schemas`` the columns of every table · ``keys`` names of pictures as text · ``tables`` Parquet files, written and read
back · ``specs`` which arrays there are and the files that describe them · ``arrays`` shards of arrays, written and read
back · ``vouched`` the files of arrays as Zarr asks for them · ``exporting`` single files for other programs.
"""
