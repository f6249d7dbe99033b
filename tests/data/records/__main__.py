from tests.data.records import write

write()
