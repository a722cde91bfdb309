from benchmarks import faults


def outcome(fault, times, equal, note="-"):
    return faults.Outcome(fault=fault, times=times, equal=equal, note=note)


def test_tables_of_campaigns_add_up():
    first = [outcome("disk", 0, None, "not here"), outcome("kill", 3, True)]
    second = [outcome("kill", 4, True), outcome("disk", 1, True, "ended")]
    tables = [faults.table(first), faults.table(second)]
    wanted = [outcome("disk", 1, True, "ended"), outcome("kill", 7, True)]
    assert faults.join(tables) == wanted


def test_one_campaign_whose_rows_differ_is_enough():
    tables = [faults.table([outcome("kill", 1, equal)]) for equal in (True, False)]
    assert faults.join(tables) == [outcome("kill", 2, False)]
    assert faults.join(tables[::-1]) == [outcome("kill", 2, False)]
