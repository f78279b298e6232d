module longtask.dev/tests/e2e/program

go 1.24
