module example.com/acme/settlement

go 1.24
