from batch.command import main

main()
