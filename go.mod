module github.com/smartvm/smartvm

go 1.26
