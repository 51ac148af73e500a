"""The ROS 2 edge: the only modules that import rclpy or messages.

``node`` is the table of contents. Inputs come in raw (``wire``), find their CameraInfo and boxes
(``matching``), wait in a one-slot ``mailbox`` for the ``worker``; each output is a module of its own.
"""
