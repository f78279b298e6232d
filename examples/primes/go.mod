module longtask.dev/examples/primes

go 1.24
