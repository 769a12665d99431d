from ray_stages.launcher import main

main()
