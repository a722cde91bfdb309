from benchmarks import suite

_XML = """<testsuites><testsuite>
<testcase classname="tests.runner.test_ray" name="a" time="3"/>
<testcase classname="tests.runner.test_work" name="b" time="1"/>
<testcase classname="tests.test_main" name="c" time="0.6"/>
<testcase classname="slicebench.spec" name="slicebench.spec" time="0.4"/>
</testsuite></testsuites>"""


def test_times_are_summed_by_folder(tmp_path):
    path = tmp_path / "suite.xml"
    path.write_text(_XML)
    found = suite.by_part(suite.read_times(path)).to_dict("records")
    assert found == [
        {"part": "tests/runner", "tests": 2, "seconds": 4, "share": "80%"},
        {"part": "tests", "tests": 1, "seconds": 1, "share": "12%"},
        {"part": "doctests", "tests": 1, "seconds": 0, "share": "8%"},
    ]
