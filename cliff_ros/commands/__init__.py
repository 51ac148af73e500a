"""The commands of ``cliff``: one module each.

To add one, write ``commands/<name>.py`` with two functions and add its row to ``COMMANDS``:

``add_arguments(parser)`` declares its options;
``run(args) -> int`` does it and returns the exit code: 0 it worked, 1 it did not.
"""

# name: what it does, in the user's words. Dashes in a name become underscores in the module's.
COMMANDS = {
    'demo': 'run the whole pipeline over ROS 2 on synthetic people; measure it against exact truth',
    'video': 'people from a video, a folder of images or a camera, without ROS',
    'bag': 'every image of a recorded bag, without ROS, into a bag of people that RViz and Foxglove play',
    'batch': 'the same command over many files, on several processes or on machines with Ray',
    'view': 'people live in a browser, from a video, a folder of images or a camera',
    'convert': 'check an SMPL body or a CLIFF checkpoint and write it in a format that holds only numbers',
    'export': 'write a network and a body as the one graph that the node runs',
    'build-engine': 'build the TensorRT engine of a graph ahead of time, for images and deployment',
    'train': 'train the embedded network and detector from nothing, or any of the networks as --config says',
    'annotate': 'SMPL for images with 2D keypoints: pseudo ground truth, by a network that is taught the whole set',
    'evaluate': 'measure a network and a detector on exact truth, rendered or of a published benchmark',
    'doctor': 'say what is installed, which files were found, what will run, and what to do about gaps',
}
