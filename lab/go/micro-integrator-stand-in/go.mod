module imaas.dev/lab/micro-integrator-stand-in

go 1.25.0
