from ray_stages.launcher.command import main

main()
